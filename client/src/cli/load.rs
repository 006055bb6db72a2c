//! `pgq load`: row changes into tables.

use pgq_client::Applier;
use pgq_replica::name;

use super::transfer::Transfer;
use super::work::apply::{apply, copy};
use super::{Exit, Global};

/// Apply row changes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Load {
    #[command(flatten)]
    transfer: Transfer,
    /// First copy the tables whose triggers write into the queue, unless the target has a position
    /// already; their tables in the target must be empty
    #[arg(long)]
    copy: bool,
    /// Write only to tables of this pattern, SCHEMA.TABLE with * and ?, and to those of --table;
    /// may be given more than once. Tables of the server and of PgQ are never written to
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    only: Vec<String>,
    /// Apply TRUNCATE as well
    #[arg(long)]
    allow_truncate: bool,
    /// Queue, in the source, for events that cannot be applied; without it they stop everything
    #[arg(long, value_name = "QUEUE")]
    dead: Option<String>,
    /// Write changes of one table into another; may be given more than once
    #[arg(long, value_name = "SOURCE=TARGET", value_parser = pair)]
    table: Vec<(String, String)>,
    /// Key columns of a source table, instead of those the events name; may be given more than once
    #[arg(long, value_name = "SOURCE=COLUMN,…", value_parser = pair)]
    key: Vec<(String, String)>,
    /// Leave out changes of tables the target does not have
    #[arg(long)]
    skip_missing: bool,
    /// Apply each change by a statement of its own, in the order in which they happened
    #[arg(long)]
    row_by_row: bool,
    /// Set session_replication_role to replica, so that the target's triggers and foreign keys stay
    /// out of it; needs rights
    #[arg(long)]
    replica_role: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (left, right) = text.split_once('=').ok_or("must be SOURCE=…")?;
    Ok((name::full(left), right.to_owned()))
}

impl Load {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let mut applier = Applier::new();
        for (source, target) in &self.table {
            applier.map_table(source, target);
        }
        for (source, columns) in &self.key {
            applier
                .set_key(source, columns.split(',').map(|name| name.trim().to_owned()).collect());
        }
        for pattern in &self.only {
            applier.only(pattern);
        }
        applier.allow_truncate(self.allow_truncate);
        applier.skip_missing(self.skip_missing);
        applier.row_by_row(self.row_by_row);
        let mut open = self.transfer.open(global, self.dead.as_deref())?;
        if self.copy {
            copy(&mut open.consumer, &mut applier, self.replica_role)?;
        }
        open.run(|batch| apply(batch, &mut applier, self.replica_role))
    }
}
