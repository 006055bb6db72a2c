//! What a worker can be told.

use std::time::Duration;

use pgq_replica::cascade::replay::Register;

use crate::connector::Connector;

/// What a [`super::CascadeWorker`] is told.
#[derive(Clone, Debug)]
pub struct CascadeSettings {
    /// The job's name, for messages.
    pub job: String,
    /// The queue.
    pub queue: String,
    /// The node's database.
    pub local: Connector,
    /// Added to the connection string of each provider: `user=… sslmode=…`.
    pub remote_extra: String,
    /// Tables that are copied at once.
    pub parallel_copies: usize,
    /// Between looks where nobody waits in the server, and while paused.
    pub loop_delay: Duration,
    /// Tables that are registered here when the queue gets one.
    pub register_tables: Register,
    /// Sequences that are.
    pub register_sequences: Register,
}

impl CascadeSettings {
    /// Of a queue's node in this database, with defaults for all else.
    pub fn new(job: &str, queue: &str, local: Connector) -> Self {
        Self {
            job: job.to_owned(),
            queue: queue.to_owned(),
            local,
            remote_extra: String::new(),
            parallel_copies: 1,
            loop_delay: Duration::from_secs(1),
            register_tables: Register::default(),
            register_sequences: Register::default(),
        }
    }

    /// Do both say the same about the node, and how it and its provider are connected to?
    pub(super) fn connect_like(&self, other: &Self) -> bool {
        self.queue == other.queue
            && self.remote_extra == other.remote_extra
            && self.local.is_like(&other.local)
    }
}
