//! The listings that a session keeps: where the events of batches are that are read in pages.
//!
//! An entry is a place in an event table, which is only ever appended to and is not emptied while a
//! batch in it is open. What moves rows all the same (VACUUM FULL, `pgq.rebase`) is noticed: the
//! table is another file, or a shorter one, or the row at the place is not the one that was listed.

use std::cell::RefCell;
use std::convert::Infallible;
use std::ops::ControlFlow;

use super::events::is_for;
use super::span::{Span, TickPair};
use crate::error::PgqError;
use crate::event_table::{self, ID, KEY, TXID};
use pgq_core::key_slot::spread;
use pgq_core::listing::{Collector, Listing};
use pgq_pg::index_scan::{IndexedTable, Place, ScannedRow};
use pgrx::pg_sys;

/// A window as one subscription gets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    /// Between which ticks.
    pub(super) ticks: TickPair,
    /// Whose events that come again belong to it.
    pub(super) subscription: i32,
    /// The slots of a consumer read the same window.
    pub(super) has_slots: bool,
}

/// What a table is stored in: the number of its file, and how many blocks that had.
type File = (pg_sys::Oid, pg_sys::BlockNumber);

/// Where an event is.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    /// In which of the window's tables.
    pub(super) table: u16,
    /// Where in it.
    pub(super) place: Place,
    /// Which slot it belongs to, see [`spread`]; 0 where nobody asks for that.
    pub(super) spread: u32,
}

/// What a session knows of a window.
pub(super) struct Listed {
    reader: Reader,
    span: Span,
    files: Vec<File>,
    /// The places of its events.
    pub(super) listing: Listing<Spot>,
}

/// Most events that a listing has: 24 bytes each.
const MOST: usize = 1_000_000;
/// Most windows that a session keeps listings of.
const WINDOWS: usize = 4;

thread_local! {
    /// The one that was used last is the last.
    static KNOWN: RefCell<Vec<Listed>> = const { RefCell::new(Vec::new()) };
}

/// The window's tables, opened; None when one is not as `pgq.create_queue` made it.
pub(super) type Tables = Vec<IndexedTable>;

/// A window's tables and what is known of it.
pub(super) enum Found {
    /// The places of its events after some id.
    Places(Tables, Listed),
    /// An event table that somebody changed: only the planner can tell.
    Query(Span),
}

/// Find a window's events after an id, read anew unless they are known. To be given back by
/// [`keep`]. Under the active snapshot.
pub(super) fn find(reader: Reader, after: Option<i64>) -> Result<Found, PgqError> {
    if let Some(known) = take(reader)
        && let Some(tables) = open(&known.span)
        && are_there(&known.files, &tables)
        && known.listing.covers(after)
    {
        return Ok(Found::Places(tables, known));
    }
    let span = Span::load(reader.ticks)?.ok_or(PgqError::NoTicks {
        previous: reader.ticks.previous,
        current: reader.ticks.current,
    })?;
    let Some(tables) = open(&span) else { return Ok(Found::Query(span)) };
    let listing = read(reader, after, &span, &tables);
    let listed = Listed { reader, files: files(&tables), span, listing };
    Ok(Found::Places(tables, listed))
}

/// Keep what is known for the next page.
pub(super) fn keep(listed: Listed) {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= WINDOWS {
            known.remove(0);
        }
        known.push(listed);
    });
}

fn take(reader: Reader) -> Option<Listed> {
    KNOWN.with_borrow_mut(|known| {
        let key = |reader: Reader| {
            let TickPair { queue, previous, current } = reader.ticks;
            (queue, reader.subscription, previous, current, reader.has_slots)
        };
        let index = known.iter().position(|listed| key(listed.reader) == key(reader))?;
        Some(known.remove(index))
    })
}

fn open(span: &Span) -> Option<Tables> {
    span.tables.iter().map(|name| event_table::open(name)).collect()
}

fn files(tables: &[IndexedTable]) -> Vec<File> {
    tables.iter().map(|table| (table.file(), table.blocks())).collect()
}

/// True when these are still the tables' files. VACUUM may have cut off empty blocks at their ends.
fn are_there(files: &[File], tables: &[IndexedTable]) -> bool {
    let now = self::files(tables);
    files.len() == now.len()
        && files.iter().zip(&now).all(|(known, now)| known.0 == now.0 && known.1 <= now.1)
}

impl Listed {
    /// True when the row that was found at a place is the one that was listed.
    pub(super) fn is_same(&self, row: &ScannedRow, id: i64) -> bool {
        row.int8(ID) == Some(id)
            && row.int8(TXID).is_some_and(|xid| self.span.window.contains(xid))
            && is_for(row, self.reader.subscription)
    }
}

fn read(reader: Reader, after: Option<i64>, span: &Span, tables: &[IndexedTable]) -> Listing<Spot> {
    let mut collector = Collector::new(after, MOST);
    for (number, table) in (0_u16..).zip(tables) {
        let ControlFlow::Continue(()) = span.visit(table, |row| {
            if is_for(row, reader.subscription)
                && let Some(id) = row.int8(ID)
            {
                let spread = if reader.has_slots { key_of(row, id) } else { 0 };
                collector.add(id, Spot { table: number, place: row.place(), spread });
            }
            ControlFlow::<Infallible>::Continue(())
        });
    }
    collector.finish()
}

fn key_of(row: &ScannedRow, id: i64) -> u32 {
    match row.text(KEY) {
        Some(key) => key.with_bytes(|bytes| spread(id, Some(bytes))),
        None => spread(id, None),
    }
}
