//! Row changes into tables.

use pgq_client::{Applier, Error, HandlerError, RemoteBatch, RemoteConsumer, Statements};

use super::advise;

/// Copy what was there before, unless that is done.
pub(in crate::cli) fn copy(
    consumer: &mut RemoteConsumer,
    applier: &mut Applier,
    replica_role: bool,
) -> Result<(), Error> {
    let set_up = if replica_role { REPLICA_ROLE } else { "" };
    let rows = consumer
        .copy_tables(applier, set_up, |applier, batch| apply(batch, applier, replica_role))?;
    if let Some(rows) = rows {
        log::info!("{rows} rows copied");
    }
    Ok(())
}

const REPLICA_ROLE: &str = "set local session_replication_role = replica";

/// Apply one batch.
pub(in crate::cli) fn apply(
    batch: &mut RemoteBatch<'_, '_, '_>,
    applier: &mut Applier,
    replica_role: bool,
) -> Result<(), HandlerError> {
    // For this transaction only: what a pooler gives to others next is as it was. A page's
    // statements run shorter than JIT takes to compile one, which a large table is enough for.
    batch.target().batch_execute("set local jit = off")?;
    if replica_role {
        batch.target().batch_execute(REPLICA_ROLE)?;
    }
    applier.forget_tables();
    while let Some(page) = batch.next_page()? {
        let applied = if batch.can_bury() {
            let (applied, left_out) =
                applier.apply_possible(&mut Statements(batch.target()), &page)?;
            for (at, error) in left_out {
                if let Some(event) = page.get(at) {
                    batch.bury(event, error)?;
                }
            }
            applied
        } else {
            applier.apply(&mut Statements(batch.target()), &page).map_err(advise)?
        };
        if applied.skipped > 0 {
            log::debug!("{} events are no changes of a known table", applied.skipped);
        }
    }
    Ok(())
}
