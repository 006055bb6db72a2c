//! Captures kept for the session, one per trigger and table.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use pgrx::pg_sys::Oid;

use super::capture::Capture;
use super::format::Format;
use crate::error::PgqError;
use pgq_pg::trigger::TriggerCall;
use pgq_pg::{setting, watch};

/// Beyond this number, stale entries are looked for whenever one is added.
const MANY: usize = 64;

struct Entry {
    capture: Rc<Capture>,
    table_version: u32,
    quotes_all: bool,
}

/// Table, trigger and its function.
type Key = (u32, u32, Format);

thread_local! {
    static CAPTURES: RefCell<BTreeMap<Key, Entry>> = const { RefCell::new(BTreeMap::new()) };
}

/// What is known of the trigger that is firing. Studied anew when its table has changed since.
pub(crate) fn lookup(format: Format, call: &TriggerCall<'_>) -> Result<Rc<Capture>, PgqError> {
    let relation = call.relation();
    let key = (relation.oid().to_u32(), call.trigger_oid().to_u32(), format);
    // Taken before anything is read: what is invalidated while reading is stale at the next call.
    let table_version = watch::of_relation(relation.oid());
    let quotes_all = setting::quotes_all_identifiers();
    let known = CAPTURES.with_borrow(|captures| {
        let entry = captures.get(&key)?;
        let fresh = entry.table_version == table_version
            && entry.quotes_all == quotes_all
            && entry.capture.shape.columns().len() == relation.column_count();
        fresh.then(|| Rc::clone(&entry.capture))
    });
    if let Some(capture) = known {
        return Ok(capture);
    }
    let capture = Rc::new(Capture::new(format, call)?);
    let entry = Entry { capture: Rc::clone(&capture), table_version, quotes_all };
    // What is dropped calls PostgreSQL to free memory, so not while the map is borrowed.
    let dropped = CAPTURES.with_borrow_mut(|captures| {
        let mut dropped = Vec::new();
        if captures.len() >= MANY {
            let stale: Vec<_> = captures
                .iter()
                .filter(|((table, ..), entry)| {
                    entry.table_version != watch::of_relation(Oid::from(*table))
                })
                .map(|(key, _)| *key)
                .collect();
            dropped.extend(stale.iter().filter_map(|key| captures.remove(key)));
        }
        dropped.extend(captures.insert(key, entry));
        dropped
    });
    drop(dropped);
    Ok(capture)
}
