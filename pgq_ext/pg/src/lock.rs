//! Locks of the extension's own, held until the transaction ends; and looks at a session's.

use pgrx::pg_sys;

use super::{constants, ports};

/// `locktag_field4` of an advisory lock. SQL's own functions take 1 and 2: nobody gets at these
/// through them.
const OUT_OF_REACH: u16 = 3;
/// That of SQL's functions with one key.
const OF_ONE_KEY: u16 = 1;

/// Take the lock (`class`, `key`) of this database; true when it is taken, false if it is busy and
/// the caller does not wait.
pub fn acquire(class: u32, key: u32, is_shared: bool, waits: bool) -> bool {
    let mode = if is_shared { constants::lock::SHARE } else { constants::lock::EXCLUSIVE };
    let tag = tag(class, key, OUT_OF_REACH);
    // SAFETY: the tag is complete; the lock belongs to the current transaction, whose end releases
    // it.
    let result = unsafe { pg_sys::LockAcquire(&raw const tag, mode, false, !waits) };
    result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// Give the lock back, which the transaction has taken; once for each time.
pub fn release(class: u32, key: u32) {
    let tag = tag(class, key, OUT_OF_REACH);
    // SAFETY: the tag is complete; a lock that is not held raises a warning and no more.
    unsafe { pg_sys::LockRelease(&raw const tag, constants::lock::EXCLUSIVE, false) };
}

/// True when this process holds the advisory lock that SQL's functions take with this one key,
/// exclusively: outside of a transaction, as a lock of the session. What others have written may
/// have given it up.
pub fn holds_session_lock(key: i64) -> bool {
    let [a, b, c, d, e, f, g, h] = key.to_be_bytes();
    let (high, low) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    ports::holds_lock(&tag(high, low, OF_ONE_KEY), constants::lock::EXCLUSIVE)
}

fn tag(class: u32, key: u32, kind: u16) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: set once when the session begins.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: class,
        locktag_field3: key,
        locktag_field4: kind,
        locktag_type: constants::lock::ADVISORY,
        locktag_lockmethodid: constants::lock::USER_METHOD,
    }
}
