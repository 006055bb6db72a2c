//! `[londiste]`: the worker of a cascade's node.

use std::collections::BTreeSet;
use std::time::Duration;

use pgq_client::{CascadeCopies, CascadeSettings, CascadeWorker, Connector, Error, Register, Stop};
use pgq_ini::Section;
use pgq_replica::name;

use super::order::Order;

#[derive(Debug)]
pub(super) struct Londiste {
    settings: Box<CascadeSettings>,
    copies: CascadeCopies,
}

/// Keys of SkyTools' workers and of their administration that have no effect on this worker. It
/// reads what it needs of a batch in pages, and tells watermarks when they change.
const IGNORED: [&str; 17] = [
    "compare_fmt",
    "compare_sql",
    "consumer_name",
    "global_wm_publish_period",
    "initial_provider_location",
    "local_only",
    "local_wm_publish_period",
    "lock_timeout",
    "node_name",
    "pgq_autocommit",
    "pgq_consumer_id",
    "pgq_lazy_fetch",
    "public_node_location",
    "repair_where",
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
        let local = Connector::new(&section.require("db")?)?;
        let mut settings = CascadeSettings::new(&job, &queue, local);
        settings.remote_extra = section.take("remote_extra_connstr")?.unwrap_or_default();
        settings.parallel_copies = section.number("parallel_copies")?.unwrap_or(1);
        settings.loop_delay = section.seconds("loop_delay")?.unwrap_or(Duration::from_secs(1));
        settings.register_tables = register(section, "tables")?;
        settings.register_sequences = register(section, "seqs")?;
        Ok(Self { settings: Box::new(settings), copies: CascadeCopies::default() })
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
