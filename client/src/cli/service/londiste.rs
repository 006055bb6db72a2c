//! `[londiste]`: the worker of a cascade's node.

use std::collections::BTreeSet;
use std::time::Duration;

use pgq_client::{
    CascadeCopies, CascadeSettings, CascadeWorker, Connector, Error, Register, Stop, redact,
};
use pgq_ini::Section;
use pgq_replica::name;

use super::order::Order;

#[derive(Debug)]
pub(super) struct Londiste {
    settings: Box<CascadeSettings>,
    commands: Box<Commands>,
    copies: CascadeCopies,
}

/// What commands for the node are told besides; no worker needs it.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Commands {
    /// The node's name, for `create-…`.
    pub(in crate::cli) name: Option<String>,
    /// How others connect to the node's database, for `create-…`.
    pub(in crate::cli) location: Option<String>,
    /// How to connect to the provider, for `create-…`.
    pub(in crate::cli) provider: Option<String>,
    /// How long a table may be waited for.
    pub(in crate::cli) lock_timeout: Duration,
    /// What is asked of a table, for `compare`.
    pub(in crate::cli) compare_sql: Option<String>,
    /// How `db` reads, without passwords.
    pub(in crate::cli) local: String,
}

/// Keys of SkyTools' workers and of their administration that have no effect. Workers read what
/// they need of a batch in pages, and tell watermarks when they change.
const IGNORED: [&str; 11] = [
    "compare_fmt",
    "consumer_name",
    "global_wm_publish_period",
    "local_only",
    "local_wm_publish_period",
    "pgq_autocommit",
    "pgq_consumer_id",
    "pgq_lazy_fetch",
    "sort_bufsize",
    "threaded_copy_pool_size",
    "threaded_copy_tables",
];
/// Keys that change what is applied, and that this worker does not have.
const UNKNOWN: [&str; 7] = [
    "handler_modules",
    "local_only_drop_execute",
    "obfuscator_key",
    "obfuscator_map",
    "pgq_keep_lag",
    "shard_hash_func",
    "shard_info_sql",
];

impl Londiste {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        for key in IGNORED {
            section.ignore(key);
        }
        for key in UNKNOWN {
            if section.take(key)?.is_some_and(|value| !matches!(value.as_str(), "" | "0")) {
                return Err(section.wrong(key, "this worker does not have it").into());
            }
        }
        for key in ["pgq_batch_collect_events", "pgq_batch_collect_interval"] {
            section.ignore(key);
        }
        let (queue, old) = (section.take("queue_name")?, section.take("pgq_queue_name")?);
        let queue = match queue.or(old) {
            Some(queue) => queue,
            None => section.require("queue_name")?,
        };
        let job = section.require("job_name")?;
        let database = section.require("db")?;
        let local = Connector::new(&database)?;
        let mut settings = CascadeSettings::new(&job, &queue, local);
        settings.remote_extra = section.take("remote_extra_connstr")?.unwrap_or_default();
        settings.parallel_copies = section.number("parallel_copies")?.unwrap_or(1);
        settings.loop_delay = section.seconds("loop_delay")?.unwrap_or(Duration::from_secs(1));
        settings.register_tables = register(section, "tables")?;
        settings.register_sequences = register(section, "seqs")?;
        let commands = Commands {
            name: section.take("node_name")?,
            location: section.take("public_node_location")?,
            provider: section.take("initial_provider_location")?,
            lock_timeout: section.seconds("lock_timeout")?.unwrap_or(Duration::from_secs(10)),
            compare_sql: section.take("compare_sql")?,
            local: redact(&database),
        };
        Ok(Self {
            settings: Box::new(settings),
            commands: Box::new(commands),
            copies: CascadeCopies::default(),
        })
    }

    pub(super) fn commands(&self) -> &Commands {
        &self.commands
    }

    pub(super) fn settings(&self) -> &CascadeSettings {
        &self.settings
    }

    /// Go on with the copies of another, which is of earlier settings.
    pub(super) fn take_over(&mut self, other: &Self) {
        self.copies = other.copies.clone();
    }

    pub(super) fn serve(&self, stop: &Stop) {
        let settings = (*self.settings).clone();
        CascadeWorker::new(settings, stop.clone()).with_copies(&self.copies).run();
    }

    pub(super) fn obey(&self, _order: Order) -> Error {
        Error::Config(format!(
            "the worker of queue \"{}\" has its position in the node: see pgq_node.get_worker_state()",
            self.settings.queue
        ))
    }
}

/// `register_only_…` and `register_skip_…`.
fn register(section: &mut Section<'_>, of: &str) -> Result<Register, Error> {
    let full = |names: Vec<String>| -> BTreeSet<String> {
        names.iter().map(|text| name::full(text.trim())).collect()
    };
    let only = full(section.list(&format!("register_only_{of}"))?);
    let skip = full(section.list(&format!("register_skip_{of}"))?);
    Ok(Register { only: (!only.is_empty()).then_some(only), skip })
}
