//! Something that may fail inside a transaction that goes on.

use pgrx::pg_sys;

use super::session::{self, Failure};

/// Run `body` in a subtransaction: undo what it did, and say why, when it raises an error.
///
/// Also what somebody else asked for is an error here, as a cancel is: see [`Failure::is_asked`].
pub fn attempt<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    // SAFETY: variables of this process, which the subtransaction changes and its end may not put
    // back. Inside a transaction.
    let (memory, owner) = unsafe {
        let before = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = before.0;
        before
    };
    let result = session::caught(body);
    // SAFETY: the innermost subtransaction is the one begun above, as whatever began one within
    // has ended it, or was interrupted by the error, which is out of the server's error stack. What
    // was current before lives as long as the transaction around.
    unsafe {
        match &result {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::CurrentMemoryContext = memory;
        pg_sys::CurrentResourceOwner = owner;
    }
    result
}
