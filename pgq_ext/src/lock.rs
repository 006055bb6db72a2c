//! The locks that keep tickers, rotation and registration apart; docs/locks.md says who takes
//! which.

use crate::error::PgqError;
use pgq_pg::call::{Call, Returned};
use pgq_pg::lock;

/// Class of the lock of a unique key, whose key is part of the key's hash.
pub(crate) const UNIQUE: u32 = 1_885_827_445;
/// Class of the lock of tickers.
const TICKS: u32 = 1_885_827_444;

/// Wait for the queue's ticker lock.
pub(crate) fn ticks(queue: i32) {
    lock::acquire(TICKS, u32::from_ne_bytes(queue.to_ne_bytes()), false, true);
}

/// Take the queue's ticker lock unless somebody else has it.
pub(crate) fn try_ticks(queue: i32) -> bool {
    lock::acquire(TICKS, u32::from_ne_bytes(queue.to_ne_bytes()), false, false)
}

/// Class of a lock, as `pg_locks.classid` shows it.
fn class(call: &Call) -> Result<u32, PgqError> {
    let name = call.text(0).ok_or(PgqError::NullArgument("lock"))?.to_display();
    match name.as_str() {
        "ticks" => Ok(TICKS),
        "rotation" => Ok(1_885_827_442),
        "ids" => Ok(1_885_827_433),
        "delayed" => Ok(1_885_827_428),
        "unique" => Ok(UNIQUE),
        _ => Err(PgqError::NoSuchLock { name }),
    }
}

fn key(call: &Call) -> Result<u32, PgqError> {
    let queue = call.int4(1).ok_or(PgqError::NullArgument("queue"))?;
    Ok(u32::from_ne_bytes(queue.to_ne_bytes()))
}

/// `pgq._lock(i_lock, i_queue_id)`: wait for it.
pub(crate) fn lock_function(call: &Call) -> Result<Returned, PgqError> {
    lock::acquire(class(call)?, key(call)?, false, true);
    Ok(Returned::Done)
}

/// `pgq._lock_shared(i_lock, i_queue_id)`: wait for it, together with others that share it.
pub(crate) fn lock_shared(call: &Call) -> Result<Returned, PgqError> {
    lock::acquire(class(call)?, key(call)?, true, true);
    Ok(Returned::Done)
}

/// `pgq._try_lock(i_lock, i_queue_id)`: false if somebody else has it.
pub(crate) fn try_lock(call: &Call) -> Result<Returned, PgqError> {
    Ok(Returned::Bool(lock::acquire(class(call)?, key(call)?, false, false)))
}

/// `pgq._unlock(i_lock, i_queue_id)`: give it back.
pub(crate) fn unlock(call: &Call) -> Result<Returned, PgqError> {
    lock::release(class(call)?, key(call)?);
    Ok(Returned::Done)
}
