//! Locks of the extension's own, held until the transaction ends.

use pgrx::pg_sys;

use super::constants;

/// `locktag_field4` of an advisory lock. SQL's own functions take 1 and 2: nobody gets at these
/// through them.
const OUT_OF_REACH: u16 = 3;

/// Take the lock (`class`, `key`) of this database; true when it is taken, false if it is busy and
/// the caller does not wait.
pub fn acquire(class: u32, key: u32, is_shared: bool, waits: bool) -> bool {
    let mode = if is_shared { constants::lock::SHARE } else { constants::lock::EXCLUSIVE };
    // SAFETY: the tag is complete; the lock belongs to the current transaction, whose end releases
    // it.
    let result = unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: class,
            locktag_field3: key,
            locktag_field4: OUT_OF_REACH,
            locktag_type: constants::lock::ADVISORY,
            locktag_lockmethodid: constants::lock::USER_METHOD,
        };
        pg_sys::LockAcquire(&raw const tag, mode, false, !waits)
    };
    result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}
