//! `pgq load`: row changes into tables.

use pgq_client::{Applier, HandlerError, RemoteBatch};

use super::transfer::Transfer;
use super::{Exit, Global};

/// Apply row changes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Load {
    #[command(flatten)]
    transfer: Transfer,
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
    /// Set session_replication_role to replica, so that the target's triggers and foreign keys stay out of it; needs rights
    #[arg(long)]
    replica_role: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (left, right) = text.split_once('=').ok_or("must be SOURCE=…")?;
    let left = if left.contains('.') { left.to_owned() } else { format!("public.{left}") };
    Ok((left, right.to_owned()))
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
        applier.skip_missing(self.skip_missing);
        applier.row_by_row(self.row_by_row);
        self.transfer.run(global, |batch| apply(batch, &mut applier, self.replica_role))
    }
}

/// Apply one batch.
pub(super) fn apply(
    batch: &mut RemoteBatch<'_, '_, '_>,
    applier: &mut Applier,
    replica_role: bool,
) -> Result<(), HandlerError> {
    if replica_role {
        batch.target().batch_execute("set local session_replication_role = replica")?;
    }
    applier.forget_tables();
    while let Some(page) = batch.next_page()? {
        let applied = applier.apply(batch.target(), &page)?;
        if applied.skipped > 0 {
            log::debug!("{} events are no changes of a known table", applied.skipped);
        }
    }
    Ok(())
}
