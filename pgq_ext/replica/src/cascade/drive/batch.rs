//! A batch into the node's database, with the position of whoever applies it: worker or copier.

use super::fields::{EVENT, Event};
use super::link::Link;
use super::{Local, Remote, within};
use crate::cascade::calls;
use crate::cascade::replay::{Replay, Role};
use crate::cascade::round::Batch;
use crate::error::Error;
use crate::session::Failure;

/// Rows of a page at most, and bytes that it aims at.
const PAGE_ROWS: usize = 10_000;
const PAGE_BYTES: usize = 4 << 20;

/// The columns of an event that are the same on all nodes.
const KEPT: [&str; 8] =
    ["ev_id", "ev_time", "ev_type", "ev_data", "ev_extra1", "ev_extra2", "ev_extra3", "ev_extra4"];

/// Apply a batch, and note its tick as completed, in one transaction; with `keeps_events` it goes
/// into the node's own queue, too. False when it is not to be applied now: another process has
/// done so, or a copier has to come level first.
pub(super) fn apply<L: Local, R: Remote<Error = L::Error>>(
    link: &mut Link<R>,
    local: &mut L,
    replay: &mut Replay,
    (batch, role): (Batch, Role<'_>),
    keeps_events: bool,
) -> Result<bool, L::Error> {
    let applied = within(local, |local| {
        Ok(try_apply(link, local, replay, (batch, role), keeps_events)?.then_some(()))
    });
    match &applied {
        Ok(_) => replay.careful = false,
        Err(error) => {
            replay.careful |= error.is_of_event();
            replay.forget_columns();
        }
    }
    Ok(applied?.is_some())
}

fn try_apply<L: Local, R: Remote<Error = L::Error>>(
    link: &mut Link<R>,
    local: &mut L,
    replay: &mut Replay,
    (batch, role): (Batch, Role<'_>),
    keeps_events: bool,
) -> Result<bool, L::Error> {
    calls::begin(local)?;
    let own = keeps_events.then(|| lock_events(local, &link.queue)).transpose()?;
    if !replay.claim(local, &link.consumer, batch, role)? {
        return Ok(false);
    }
    if let Some((schema, table)) = &own {
        let columns = KEPT.map(str::to_owned);
        let sql = format!(
            "copy (select {} from pgq.get_batch_events({})) to stdout",
            columns.join(", "),
            batch.id
        );
        link.there.copy_out(&sql, |rows| local.copy_in((schema, table), &columns, rows))?;
    }
    let filter = replay.filter(role).map(|filter| format!(" where {filter}")).unwrap_or_default();
    let sql =
        format!("copy (select {EVENT} from pgq.get_batch_events({}){filter}) to stdout", batch.id);
    link.there.copy_out(&sql, |rows| {
        let (mut page, mut weight) = (Vec::new(), 0);
        while let Some(row) = rows()? {
            let event = Event::of(&row)?;
            weight += event.weight();
            page.push(event);
            if page.len() >= PAGE_ROWS || weight >= PAGE_BYTES {
                replay.page(local, &page, role)?;
                page.clear();
                weight = 0;
            }
        }
        replay.page(local, &page, role)
    })?;
    calls::complete(local, &link.queue, &link.consumer, batch.tick)?;
    Ok(true)
}

/// The table into which the node's own queue takes events now, locked for that. Before anything
/// else is, also the worker's row: whoever promotes a branch locks the tables of events first, too.
fn lock_events<L: Local>(local: &mut L, queue: &str) -> Result<(String, String), L::Error> {
    let rows = local.rows("select pgq.current_event_table($1)", &[queue.into()])?;
    let row = rows.first().ok_or_else(|| Error::Answer("no table of events".to_owned()))?;
    let table = row.text(0)?;
    local.run(&format!("lock table {table} in row exclusive mode"))?;
    let rows = local.rows(
        "select n.nspname::pg_catalog.text, c.relname::pg_catalog.text
           from pg_catalog.pg_class c
                join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
          where c.oid operator(pg_catalog.=) $1::pg_catalog.regclass::pg_catalog.oid",
        &[table.into()],
    )?;
    let row = rows.first().ok_or_else(|| Error::Answer("no table of events".to_owned()))?;
    Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()))
}
