//! Being a background worker, and starting others.

use std::cell::Cell;
use std::ffi::{CStr, CString};

use core::ffi::{c_char, c_int};
use pgrx::pg_guard;
use pgrx::pg_sys;

use super::{constants, ports, report, session, string};

unsafe extern "C-unwind" {
    // pg_sys has these two as Rust wrappers, whose addresses are of no use to the server.
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
    // Not every version's bindings know that it does not return.
    fn proc_exit(code: c_int) -> !;
}

/// What a background worker is called, and where it begins.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The library, as `CREATE FUNCTION` would name it.
    pub library: &'static CStr,
    /// `backend_type` in `pg_stat_activity`.
    pub name: &'static CStr,
    /// Exported symbol of the main function.
    pub entry: &'static CStr,
    /// Seconds after which the postmaster starts it again; none: never.
    pub restart: Option<c_int>,
}

/// Exports main functions of background workers: `symbol => function`, where `function` takes the
/// worker's argument.
#[macro_export]
macro_rules! worker_mains {
    ($($(#[$doc:meta])* $symbol:ident => $function:path;)*) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[pgrx::pg_guard]
        pub(crate) extern "C-unwind" fn $symbol(argument: $crate::pgrx::pg_sys::Datum) {
            $function(argument.value());
        }
    )*};
}

/// Tell the postmaster, while it preloads, to run this one as soon as the server is no (longer a)
/// standby.
pub fn register(kind: Kind) {
    let mut worker = describe(kind, 0);
    // SAFETY: the structure is complete; the server copies it.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) }
}

/// A worker that this process has started.
#[derive(Debug)]
pub struct Started(*mut pg_sys::BackgroundWorkerHandle);

impl Started {
    /// True when the process has ended, or will never begin.
    pub fn has_ended(&self) -> bool {
        let mut pid = 0;
        // SAFETY: the handle lives in TopMemoryContext, see `start`.
        let status = unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &mut pid) };
        status == pg_sys::BgwHandleStatus::BGWH_STOPPED
    }

    /// Tell it to end, also before it has begun. It is not started again.
    pub fn terminate(&self) {
        // SAFETY: as above.
        unsafe { pg_sys::TerminateBackgroundWorker(self.0) }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // While an error unwinds, PostgreSQL must not be called; these few bytes then stay.
        if !std::thread::panicking() {
            // SAFETY: allocated for this value, see `start`.
            unsafe { pg_sys::pfree(self.0.cast()) }
        }
    }
}

/// Ask the postmaster for a worker now. None when all of `max_worker_processes` are in use.
///
/// The postmaster wakes this process when the worker begins and ends.
pub fn start(kind: Kind, argument: usize) -> Option<Started> {
    start_described(describe(kind, argument))
}

/// The same under a title of its own, with data that it finds by [`my_extra`]: at most [`EXTRA`]
/// bytes. The title is cut where it is too long.
pub fn start_dynamic(kind: Kind, title: &str, argument: usize, extra: &[u8]) -> Option<Started> {
    let mut worker = describe(kind, argument);
    let title = CString::new(string::clip(title, worker.bgw_name.len() - 1)).ok()?;
    copy(&title, &mut worker.bgw_name);
    assert!(extra.len() <= EXTRA, "a worker has room for {EXTRA} bytes");
    for (to, &from) in worker.bgw_extra.iter_mut().zip(extra) {
        *to = c_char::from_ne_bytes([from]);
    }
    start_described(worker)
}

/// Bytes that a worker can be given.
pub const EXTRA: usize = 128;

/// What this worker was given, with zeros up to [`EXTRA`] bytes.
pub fn my_extra() -> Vec<u8> {
    // SAFETY: set before a worker's main function runs, and null in other processes.
    let entry = unsafe { pg_sys::MyBgworkerEntry.as_ref() };
    let extra = entry.map(|entry| entry.bgw_extra.iter().flat_map(|byte| byte.to_ne_bytes()));
    extra.into_iter().flatten().collect()
}

fn start_described(mut worker: pg_sys::BackgroundWorker) -> Option<Started> {
    let mut handle = std::ptr::null_mut();
    // SAFETY: the handle is allocated in the current context, which is made the longest-lived one
    // for the call.
    let started = in_longest_context(|| unsafe {
        worker.bgw_notify_pid = pg_sys::MyProcPid;
        pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle)
    });
    // Not then_some(): what is made is dropped then, and there is nothing to free.
    started.then(|| Started(handle))
}

/// Run `body` with the longest-lived memory context as the current one, which comes back also when
/// an error unwinds.
fn in_longest_context<R>(body: impl FnOnce() -> R) -> R {
    struct Restore(pg_sys::MemoryContext);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: a variable of this process; the context was current, and lives on.
            unsafe { pg_sys::CurrentMemoryContext = self.0 }
        }
    }
    // SAFETY: as above.
    let _restore = Restore(unsafe { pg_sys::CurrentMemoryContext });
    // SAFETY: it lives as long as the process.
    unsafe { pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext }
    body()
}

fn describe(kind: Kind, argument: usize) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker::default();
    copy(kind.name, &mut worker.bgw_name);
    copy(kind.name, &mut worker.bgw_type);
    copy(kind.library, &mut worker.bgw_library_name);
    copy(kind.entry, &mut worker.bgw_function_name);
    worker.bgw_flags = constants::flag::DATABASE_WORKER;
    worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = kind.restart.unwrap_or(-1);
    worker.bgw_main_arg = pg_sys::Datum::from(argument);
    worker
}

fn copy(from: &CStr, to: &mut [c_char]) {
    for (to, &from) in to.iter_mut().zip(from.to_bytes_with_nul()) {
        *to = c_char::from_ne_bytes([from]);
    }
}

/// First thing in a worker: take signals as a backend does. SIGHUP is noted and acted upon in
/// [`check_interrupts`]; SIGTERM ends the process there or inside a query, whichever comes first.
pub fn accept_signals() {
    ports::set_signal_handler(SIGHUP, SignalHandlerForConfigReload);
    ports::set_signal_handler(SIGTERM, die);
    // SAFETY: the handlers are in place.
    unsafe { pg_sys::BackgroundWorkerUnblockSignals() }
}

const SIGHUP: c_int = 1;
const SIGTERM: c_int = 15;

/// Connect to a database, as bootstrap superuser; oid 0: to none, only shared catalogs can be read.
pub fn connect(database: u32) {
    // SAFETY: called once per process, before anything else that needs a database.
    unsafe {
        if database == 0 {
            pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0);
        } else {
            pg_sys::BackgroundWorkerInitializeConnectionByOid(
                pg_sys::Oid::from(database),
                pg_sys::InvalidOid,
                0,
            );
        }
    }
}

/// Connect to a database as a role, with its rights and no others: who may not log in there ends
/// here. So does a worker without role or database, which the server would take for the bootstrap
/// superuser's, or one of no database.
pub fn connect_as(database: u32, role: u32) {
    assert!(database != 0 && role != 0, "a worker needs a database and a role");
    let (database, role) = (pg_sys::Oid::from(database), pg_sys::Oid::from(role));
    // SAFETY: called once per process, before anything else that needs a database.
    unsafe { pg_sys::BackgroundWorkerInitializeConnectionByOid(database, role, 0) }
}

/// Act upon signals: read the configuration again, or end. Call it between two pieces of work,
/// where there is nothing to cancel: who tries has no effect.
pub fn check_interrupts() {
    // SAFETY: flags of this process that signal handlers set.
    if unsafe { pg_sys::ConfigReloadPending } != 0 {
        // SAFETY: outside a transaction, in the process's main loop: the safe point for new
        // settings.
        unsafe {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
    if interrupt_is_pending() {
        // What is raised is that somebody cancels; whoever ends this process does so here.
        let _ = session::caught(check_interrupts_in_query);
    }
}

/// Act upon signals in a session that runs a client's statement: raise an error, end, or do
/// nothing.
pub fn check_interrupts_in_query() {
    pgrx::check_for_interrupts!();
}

/// Ask another process of this server to end.
pub fn terminate(pid: i32) {
    unsafe extern "C" {
        safe fn kill(pid: c_int, signal: c_int) -> c_int;
    }
    let _ = kill(pid, SIGTERM);
}

/// True when an interrupt waits to be looked at by [`check_interrupts`].
pub fn interrupt_is_pending() -> bool {
    // SAFETY: a flag of this process that signal handlers set.
    unsafe { pg_sys::InterruptPending != 0 }
}

/// True when this process has been told to end.
pub fn end_is_asked() -> bool {
    // SAFETY: a flag of this process that a signal handler sets.
    unsafe { pg_sys::ProcDiePending != 0 }
}

/// The client has closed the connection: end as the server does then, at the next look at
/// interrupts.
pub fn note_lost_client() {
    // SAFETY: flags of this process.
    unsafe {
        pg_sys::ClientConnectionLost = 1;
        pg_sys::InterruptPending = 1;
    }
}

/// End this process. Exit code 1 lets the postmaster restart a registered worker; dynamic ones are
/// not restarted.
pub fn exit(code: c_int) -> ! {
    // SAFETY: the server's own way out; runs the exit callbacks. It raises no errors.
    unsafe { proc_exit(code) }
}

/// End this process because it was told to, with a line in the log instead of the server's FATAL.
pub fn exit_as_asked(code: c_int, farewell: &str) -> ! {
    // SAFETY: a counter of this process, which ends. Writing to the log looks at interrupts, and
    // one is pending.
    unsafe { pg_sys::InterruptHoldoffCount += 1 }
    report::log(farewell);
    exit(code)
}

/// Process id.
pub fn my_pid() -> i32 {
    // SAFETY: set at process start.
    unsafe { pg_sys::MyProcPid }
}

/// Oid of the role whose rights count at present.
pub fn my_user() -> u32 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::GetUserId() }.to_u32()
}

/// Oid of the database of this session; 0: none.
pub fn my_database() -> u32 {
    // SAFETY: set once when the session begins.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

thread_local! {
    static AT_EXIT: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Run something when this process ends in an orderly way, also by an error; before its latch is
/// gone. One per process.
pub fn at_exit(action: fn()) {
    if AT_EXIT.replace(Some(action)).is_none() {
        // SAFETY: the callback lives as long as the process.
        unsafe { pg_sys::before_shmem_exit(Some(run_at_exit), pg_sys::Datum::from(0)) }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn run_at_exit(_code: c_int, _argument: pg_sys::Datum) {
    if let Some(action) = AT_EXIT.get() {
        action();
    }
}

/// Seconds between 1970 and PostgreSQL's epoch, 2000.
pub const EPOCH: i64 = 946_684_800;

/// Now, in microseconds of PostgreSQL's epoch.
pub fn timestamp() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}
