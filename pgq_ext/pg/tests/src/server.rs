//! What belongs to the whole server: shared memory, latches, background workers, locks.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use pgq_pg::latch::{self, WaitEvent};
use pgq_pg::process::{self, Kind, Started};
use pgq_pg::{lock, segment, session, shareable, shmem};
use pgrx::pg_test;

use crate::table::number;

shareable! {
    /// A header.
    #[repr(align(64))]
    struct Header {
        worker_pid: AtomicI32,
        failures: AtomicU32,
        rows: AtomicU32,
        passed: AtomicU32,
        port: AtomicU32,
    }
}

shareable! {
    /// A slot.
    struct Slot {
        words: [AtomicU32; 16],
    }
}

const SLOTS: usize = 3;

/// What the library does when it is loaded.
pub(crate) fn init() {
    if shmem::is_preloading() {
        shmem::request(c"fence tests", || segment::size::<Header, Slot, AtomicU32>(SLOTS));
    }
}

/// Where a worker says that it has passed.
pub(crate) fn passed() -> &'static AtomicU32 {
    &map().0.passed
}

/// Where a worker says at which port it listens.
pub(crate) fn port() -> &'static AtomicU32 {
    &map().0.port
}

/// Wait until a worker has ended.
pub(crate) fn await_end(worker: &Started) {
    while !worker.has_ended() {
        latch::sleep(Duration::from_secs(1), WaitEvent::named(c"FenceTest"));
        process::check_interrupts_in_query();
    }
}

fn map() -> (&'static Header, &'static [Slot], &'static [AtomicU32]) {
    segment::map(SLOTS).expect("the library is preloaded")
}

#[pg_test]
fn shared_memory_is_zeroed_and_has_room_for_all_processes() {
    let (_, slots, processes) = map();
    assert_eq!(slots.len(), SLOTS);
    assert!(slots.iter().flat_map(|slot| &slot.words).all(|w| w.load(Ordering::SeqCst) == 0));
    let number = latch::my_number().expect("a backend has a number");
    assert!(number < processes.len());
    processes[number].store(1, Ordering::SeqCst);
    assert_eq!(map().2[number].swap(0, Ordering::SeqCst), 1);
}

#[pg_test(error = "more is mapped than was requested")]
fn more_than_was_requested_is_not_mapped() {
    segment::map::<Header, Slot, AtomicU32>(SLOTS + 1000);
}

#[pg_test]
fn a_wake_up_before_the_sleep_is_not_lost() {
    latch::wake(latch::my_number().expect("a backend has a number"));
    // It would last for an hour.
    latch::sleep(Duration::from_secs(3600), WaitEvent::named(c"FenceTest"));
    // Nobody is there.
    latch::wake(usize::MAX);
}

const WORKER: Kind = Kind {
    library: c"pgq_pg_tests",
    name: c"fence test worker",
    entry: c"fence_worker_main",
    restart: None,
};

pgq_pg::worker_mains! {
    /// Main function of a worker.
    fence_worker_main => worker;
}

fn worker(database: usize) {
    process::accept_signals();
    process::connect(u32::try_from(database).expect("an oid"));
    let (header, ..) = map();
    header.worker_pid.store(process::my_pid(), Ordering::SeqCst);
    let count = || session::query("select count(*) from pg_catalog.pg_class", &[]).len();
    let rows = session::transaction(count).expect("it commits");
    header.rows.store(u32::try_from(rows).expect("one row"), Ordering::SeqCst);
    let failed = session::transaction(|| session::query("select 1 / 0", &[]));
    if failed.is_err_and(|failure| failure.sqlstate == "22012") {
        header.failures.fetch_add(1, Ordering::SeqCst);
    }
    let panicked = session::transaction(|| assert!(rows > 1, "one row"));
    if panicked.is_err_and(|failure| failure.message.contains("one row")) {
        header.failures.fetch_add(1, Ordering::SeqCst);
    }
    if session::transaction(count).is_ok() {
        process::exit(0);
    }
}

#[pg_test]
fn a_worker_connects_runs_queries_and_outlives_errors_in_its_transactions() {
    let database = usize::try_from(process::my_database()).expect("an oid");
    let worker = process::start(WORKER, database).expect("a free slot");
    await_end(&worker);
    let (header, ..) = map();
    assert_ne!(header.worker_pid.load(Ordering::SeqCst), 0);
    assert_eq!(header.rows.load(Ordering::SeqCst), 1);
    assert_eq!(header.failures.load(Ordering::SeqCst), 2, "an error, and a panic");
}

#[pg_test]
fn locks_of_the_extension_are_not_those_of_sql() {
    assert!(lock::acquire(1, 2, false, false));
    assert!(lock::acquire(1, 2, false, false), "a second time in the same transaction");
    let held = "select count(*) from pg_locks where pid = pg_backend_pid() \
                and locktype = 'advisory' and classid = 1 and objid = 2";
    assert_eq!(number(&format!("{held} and objsubid = 3")), 1);
    assert_eq!(number(&format!("{held} and objsubid <> 3")), 0);
}
