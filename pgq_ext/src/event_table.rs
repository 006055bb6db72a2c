//! Event tables: the only place that counts their columns.

use pgq_pg::index_scan::{self, IndexedTable};
use pgq_pg::text::Text;
use pgq_pg::value::Value;
use pgrx::pg_sys;

use crate::own_relation;

/// Columns of an event table, as `pgq.event_template` has them.
pub(crate) const COLUMNS: [(&str, pg_sys::Oid); 11] = [
    ("ev_id", pg_sys::INT8OID),
    ("ev_time", pg_sys::TIMESTAMPTZOID),
    ("ev_txid", pg_sys::INT8OID),
    ("ev_owner", pg_sys::INT4OID),
    ("ev_retry", pg_sys::INT4OID),
    ("ev_type", pg_sys::TEXTOID),
    ("ev_data", pg_sys::TEXTOID),
    ("ev_extra1", pg_sys::TEXTOID),
    ("ev_extra2", pg_sys::TEXTOID),
    ("ev_extra3", pg_sys::TEXTOID),
    ("ev_extra4", pg_sys::TEXTOID),
];

/// Offset of `ev_id`.
pub(crate) const ID: usize = offset("ev_id");
/// Offset of `ev_txid`, which has an index.
pub(crate) const TXID: usize = offset("ev_txid");
/// Offset of `ev_owner`.
pub(crate) const OWNER: usize = offset("ev_owner");
/// Offset of `ev_extra1`, the key of a message.
pub(crate) const KEY: usize = offset("ev_extra1");
/// Offsets of the columns that every event has a value in.
pub(crate) const NEVER_NULL: [usize; 3] = [offset("ev_id"), offset("ev_time"), TXID];
/// Offsets of the columns that consumers get: all but `ev_owner`.
pub(crate) const DELIVERED: [usize; 10] = all_but(OWNER);

/// A row in the order of [`COLUMNS`].
pub(crate) type Row = [Value; COLUMNS.len()];

/// An event to be stored.
#[derive(Clone, Copy, Default)]
pub(crate) struct NewEvent {
    /// `ev_id`; None: the next one of the queue.
    pub(crate) id: Option<i64>,
    /// `ev_time`; None: start of the transaction.
    pub(crate) time: Option<i64>,
    /// `ev_owner`: the subscription an event is redelivered to.
    pub(crate) owner: Option<i32>,
    /// `ev_retry`: how often it was redelivered.
    pub(crate) retry: Option<i32>,
    /// `ev_type`.
    pub(crate) event_type: Option<Text>,
    /// `ev_data`.
    pub(crate) data: Option<Text>,
    /// `ev_extra1` to `ev_extra4`.
    pub(crate) extra: [Option<Text>; 4],
}

impl NewEvent {
    /// The event's row: with this id, of the transaction `xid` that began at `now`.
    #[inline]
    pub(crate) fn row(&self, id: i64, xid: i64, now: i64) -> Row {
        let [extra1, extra2, extra3, extra4] = self.extra.map(Value::from);
        [
            Value::Int8(id),
            Value::Int8(self.time.unwrap_or(now)),
            Value::Int8(xid),
            self.owner.into(),
            self.retry.into(),
            self.event_type.into(),
            self.data.into(),
            extra1,
            extra2,
            extra3,
            extra4,
        ]
    }
}

/// The event table with its index on `ev_txid`; None when it is not as `pgq.create_queue` made it.
pub(crate) fn open(name: &str) -> Option<IndexedTable> {
    let oid = own_relation::event_table(name).ok().flatten()?;
    IndexedTable::open(oid, &COLUMNS, TXID)
}

/// True when the current user may read it.
pub(crate) fn may_read(name: &str) -> bool {
    own_relation::event_table(name).ok().flatten().is_some_and(index_scan::may_select)
}

const fn offset(name: &str) -> usize {
    let mut column = 0;
    while !is_same(COLUMNS[column].0, name) {
        column += 1;
    }
    column
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut i = 0;
    while i < one.len() && i < other.len() && one[i] == other[i] {
        i += 1;
    }
    i == one.len() && i == other.len()
}

const fn all_but(column: usize) -> [usize; COLUMNS.len() - 1] {
    let mut rest = [0; COLUMNS.len() - 1];
    let mut i = 0;
    while i < rest.len() {
        rest[i] = if i < column { i } else { i + 1 };
        i += 1;
    }
    rest
}
