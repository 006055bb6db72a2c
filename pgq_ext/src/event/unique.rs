//! Keys that are sent once: who sends one looks for it, and stores it, under a lock of that key.
//!
//! The lock is held for that moment only, and not until the transaction ends: see
//! `sql/pgq/schema/later.sql`. So rows of transactions in progress are looked at, too.

use std::ops::ControlFlow;

use pgrx::pg_sys;

use crate::error::PgqError;
use crate::lock::UNIQUE;
use pgq_pg::call::{Call, Returned};
use pgq_pg::index_scan::IndexedTable;
use pgq_pg::{catalog, lock, process, xact};

/// The buckets of `pgq.unique_key`.
const BUCKETS: [&std::ffi::CStr; 9] = [
    c"unique_0",
    c"unique_1",
    c"unique_2",
    c"unique_3",
    c"unique_4",
    c"unique_5",
    c"unique_6",
    c"unique_7",
    c"unique_8",
];

/// Columns of a bucket.
const COLUMNS: [(&str, pg_sys::Oid); 4] = [
    ("uk_hash", pg_sys::INT8OID),
    ("uk_check", pg_sys::INT8OID),
    ("uk_id", pg_sys::INT8OID),
    ("uk_expires", pg_sys::TIMESTAMPTZOID),
];
const HASH: usize = 0;
const CHECK: usize = 1;
const ID: usize = 2;
const EXPIRES: usize = 3;

/// What is known of a key.
enum Known {
    /// The event that it was sent with.
    Sent(i64),
    /// A transaction in progress has sent it, or takes that back.
    Busy(pg_sys::TransactionId),
}

/// `pgq._claim_unique(i_hash, i_check)`.
pub(crate) fn claim_unique(call: &Call) -> Result<Returned, PgqError> {
    let (Some(hash), Some(check)) = (call.int8(0), call.int8(1)) else {
        return Err(PgqError::NullArgument("hash"));
    };
    let [a, b, c, d, ..] = hash.to_be_bytes();
    let key = u32::from_be_bytes([a, b, c, d]);
    // Who waits for this transaction needs its id.
    xact::assign_top_xid();
    loop {
        lock::acquire(UNIQUE, key, false, true);
        let xid = match look(hash, check)? {
            None => return Ok(Returned::Null),
            Some(Known::Sent(id)) => {
                lock::release(UNIQUE, key);
                return Ok(Returned::Int8(id));
            }
            Some(Known::Busy(xid)) => xid,
        };
        lock::release(UNIQUE, key);
        xact::wait_for(xid);
    }
}

fn look(hash: i64, check: i64) -> Result<Option<Known>, PgqError> {
    let now = process::timestamp();
    for name in BUCKETS {
        let missing =
            || PgqError::NoSuchRelation { name: format!("pgq.{}", name.to_string_lossy()) };
        let oid = catalog::relation_oid(c"pgq", name).ok_or_else(missing)?;
        let bucket = IndexedTable::open(oid, &COLUMNS, HASH).ok_or_else(|| PgqError::Corrupt {
            queue: "pgq.unique_key".to_owned(),
            problem: format!("{} is not as the extension made it", name.to_string_lossy()),
        })?;
        let found = bucket.scan_with_uncommitted(hash, |row, busy| {
            let is_it = row.int8(CHECK) == Some(check)
                && row.int8(EXPIRES).is_some_and(|expires| expires > now);
            match (is_it, busy, row.int8(ID)) {
                (true, Some(xid), _) => ControlFlow::Break(Known::Busy(xid)),
                (true, None, Some(id)) => ControlFlow::Break(Known::Sent(id)),
                _ => ControlFlow::Continue(()),
            }
        });
        if let ControlFlow::Break(known) = found {
            return Ok(Some(known));
        }
    }
    Ok(None)
}
