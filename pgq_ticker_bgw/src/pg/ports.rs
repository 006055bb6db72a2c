//! What differs between PostgreSQL versions, and nothing else.

use core::ffi::{CStr, c_int, c_long};

use pgrx::pg_sys;

/// Reserve shared memory at server start. `size` is asked when the server knows how many backends
/// it allows.
pub(super) fn request_shared_memory(size: fn() -> usize) {
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    // SAFETY: called from `_PG_init` while the postmaster loads its libraries, where these versions
    // take requests.
    unsafe {
        pg_sys::RequestAddinShmemSpace(size())
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    {
        use std::sync::OnceLock;
        static SIZE: OnceLock<fn() -> usize> = OnceLock::new();
        static PREVIOUS: OnceLock<pg_sys::shmem_request_hook_type> = OnceLock::new();

        #[pgrx::pg_guard]
        unsafe extern "C-unwind" fn request() {
            if let Some(Some(previous)) = PREVIOUS.get() {
                // SAFETY: the hook that was there before ours, called as the server would have.
                unsafe { previous() }
            }
            if let Some(size) = SIZE.get() {
                // SAFETY: this is the hook where requests are due.
                unsafe { pg_sys::RequestAddinShmemSpace(size()) }
            }
        }

        let _ = SIZE.set(size);
        // SAFETY: the postmaster has one thread, and hooks are chained while it loads libraries.
        let previous = unsafe { pg_sys::shmem_request_hook };
        let _ = PREVIOUS.set(previous);
        // SAFETY: as above.
        unsafe { pg_sys::shmem_request_hook = Some(request) }
    }
}

/// How many processes can have a number (see [`my_number`]).
pub(super) fn max_backends() -> usize {
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    unsafe extern "C" {
        // Not in the bindings of all these versions.
        static autovacuum_max_workers: c_int;
        static max_wal_senders: c_int;
    }
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    // SAFETY: settings of the postmaster, read after the configuration file. `MaxBackends` itself
    // is computed later than these versions take requests for shared memory; the sum is the
    // server's own (InitializeMaxBackends).
    let backends = unsafe {
        pg_sys::MaxConnections
            + autovacuum_max_workers
            + 1
            + pg_sys::max_worker_processes
            + max_wal_senders
    };
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    // SAFETY: computed before the request hook runs, constant from then on.
    let backends = unsafe { pg_sys::MaxBackends };
    usize::try_from(backends).unwrap_or(0)
}

/// This process's index in the server's process array, if it has one yet.
pub(super) fn my_number() -> Option<usize> {
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
    // SAFETY: set once per process by InitProcess, and valid until it ends.
    let number = unsafe { pg_sys::MyProc.as_ref() }.map(|proc| proc.pgprocno)?;
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16")))]
    // SAFETY: as above; negative before InitProcess.
    let number = unsafe { pg_sys::MyProcNumber };
    usize::try_from(number).ok()
}

/// What `pg_stat_activity` shows as wait event. Before PostgreSQL 17 extensions share one name.
pub(super) fn wait_event(name: &'static CStr) -> u32 {
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
    {
        let _ = name;
        pg_sys::PG_WAIT_EXTENSION
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16")))]
    // SAFETY: the name is a C string that lives for ever; the server copies it.
    unsafe {
        pg_sys::WaitEventExtensionNew(name.as_ptr())
    }
}

/// Wait events that say that the client has closed its connection; zero where the version has none.
pub(super) fn socket_closed_event() -> u32 {
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    {
        0
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    {
        pg_sys::WL_SOCKET_CLOSED
    }
}

/// Refuse settings `pgq.something` that nobody has defined.
pub(super) fn reserve_setting_prefix(prefix: &'static CStr) {
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    // SAFETY: a C string that lives for ever.
    unsafe {
        pg_sys::EmitWarningsOnPlaceholders(prefix.as_ptr())
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    // SAFETY: as above.
    unsafe {
        pg_sys::MarkGUCPrefixReserved(prefix.as_ptr())
    }
}

/// Install a signal handler of the server's own.
pub(super) fn set_signal_handler(signal: c_int, handler: unsafe extern "C-unwind" fn(c_int)) {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: both handlers we pass are PostgreSQL's and only touch flags and the latch.
    unsafe {
        pg_sys::pqsignal(signal, Some(handler));
    }
    #[cfg(feature = "pg18")]
    // SAFETY: as above.
    unsafe {
        pg_sys::pqsignal_be(signal, Some(handler));
    }
}

/// Hand this process's statistics to the collector, when it is time.
pub(super) fn report_statistics() {
    // SAFETY: called outside a transaction, as the server's own loops do.
    let _: c_long = {
        #[cfg(any(feature = "pg13", feature = "pg14"))]
        {
            // SAFETY: see above.
            unsafe { pg_sys::pgstat_report_stat(false) };
            0
        }
        #[cfg(not(any(feature = "pg13", feature = "pg14")))]
        // SAFETY: see above.
        unsafe {
            pg_sys::pgstat_report_stat(false)
        }
    };
}
