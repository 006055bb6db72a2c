//! The right to work for a node, by the session to its database.

use std::time::{Duration, Instant};

use pgq_replica::cascade::claim::{self, Claim};

use super::settings::CascadeSettings;
use crate::error::Error;
use crate::session::Session;
use crate::statements::Statements;

/// Between attempts to get the lock of one that works without it.
const AGAIN: Duration = Duration::from_secs(5);

/// The right to work.
#[derive(Debug, Default)]
pub(super) struct Right {
    /// The connection that has it.
    connection: Option<u64>,
    /// It works without the lock: when it was refused that last.
    unlocked: Option<Instant>,
    refused: u32,
}

impl Right {
    /// Have it, or take it; false when another worker has it.
    pub(super) fn hold(
        &mut self,
        settings: &CascadeSettings,
        local: &mut Session,
    ) -> Result<bool, Error> {
        let (job, queue) = (&settings.job, &settings.queue);
        local.get()?;
        let connection = local.connections();
        let works = self.connection == Some(connection);
        if works && self.unlocked.is_none_or(|then| then.elapsed() < AGAIN) {
            return Ok(true);
        }
        let was_unlocked = self.unlocked.take().is_some();
        // Unless the next answer says so.
        self.connection = None;
        match claim::take(&mut Statements(local.get()?.0), queue)? {
            Claim::Mine if works => log::warn!("{job}: has the lock now"),
            Claim::Mine => {}
            Claim::Unlocked => {
                if !was_unlocked {
                    log::warn!("{job}: works without a lock that somebody else holds");
                }
                self.unlocked = Some(Instant::now());
            }
            Claim::Of { pid, name } => {
                self.refused += 1;
                // One that was killed holds it for a moment.
                if self.refused == 2 {
                    log::warn!(
                        "{job}: waits for another worker of queue \"{queue}\": \"{name}\", server process {pid}"
                    );
                }
                return Ok(false);
            }
        }
        if self.refused > 1 {
            log::warn!("{job}: works, since the other worker has ended");
        }
        (self.connection, self.refused) = (Some(connection), 0);
        Ok(true)
    }
}
