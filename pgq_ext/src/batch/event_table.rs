//! Event tables as the scans here read them.

use crate::event::queue_cache::EVENT_COLUMNS;
use crate::own_relation;
use pgq_pg::index_scan::{self, IndexedTable};

/// Offset of `ev_txid`.
pub(super) const TXID: usize = 2;
/// Offset of `ev_owner`.
pub(super) const OWNER: usize = 3;

/// The event table with its index on `ev_txid`; None when it is not as `pgq.create_queue` made it.
pub(super) fn open(name: &str) -> Option<IndexedTable> {
    let oid = own_relation::event_table(name).ok().flatten()?;
    IndexedTable::open(oid, &EVENT_COLUMNS, TXID)
}

/// True when the current user may read it.
pub(super) fn may_read(name: &str) -> bool {
    own_relation::event_table(name).ok().flatten().is_some_and(index_scan::may_select)
}
