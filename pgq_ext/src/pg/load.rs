//! What happens when a process loads the library.

use pgrx::pg_guard;

/// Called by the server once per process, in the postmaster when the library is in `shared_preload_libraries`.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pgq_ticker_bgw::init();
}
