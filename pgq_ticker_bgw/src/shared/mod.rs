//! What the processes of one server know together: the shared memory of the worker.
//!
//! Everything is an atomic, so there is no lock to hold, to wait for, or to leave behind. Zeroed
//! memory is a valid beginning. Who writes what:
//!
//! * a database's slot ([`Database`]) is given out and taken back by the launcher alone; the worker
//!   of that database writes the rest, and committing backends mark queues in it;
//! * a waiting backend owns the waiter with its own process number (`waiters`);
//! * a [`Problem`] belongs to the worker of its database.

mod count;
mod database;
mod problem;
mod text;
mod waiters;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use pgq_pg::{segment, shareable};

use self::count::Count;
pub(crate) use self::database::Database;
pub(crate) use self::problem::Problem;
use self::waiters::Waiter;
use crate::settings;

/// How many things can be wrong in one server at the same time and still be told apart.
const PROBLEMS: usize = 128;
/// Databases that can announce themselves before the launcher looks.
const ANNOUNCED: usize = 16;

shareable! {
    /// The fixed part. Slots of databases and waiters follow it.
    #[repr(align(64))]
    pub(crate) struct Header {
        /// Process number of the launcher plus one; 0: it does not run.
        launcher: AtomicI32,
        launcher_pid: AtomicI32,
        /// Databases where the extension has just been created or a worker asked for; 0: free.
        announced: [AtomicU32; ANNOUNCED],
        /// More databases announced themselves than there is room for.
        announced_more: AtomicBool,
        /// Backends now in `wait_batch`, for the fast "nobody waits".
        waiting: AtomicI32,
        /// Workers of replication that run, in all databases.
        pub(crate) cascades: Count,
        /// Copies that run, in all databases.
        pub(crate) copies: Count,
        /// What is wrong, see [`crate::problems`].
        pub(crate) problems: [Problem; PROBLEMS],
    }
}

/// The whole of it, as mapped into this process.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    pub(crate) header: &'static Header,
    pub(crate) databases: &'static [Database],
    waiters: &'static [Waiter],
}

/// Bytes of the server's shared memory that this takes.
pub(crate) fn size() -> usize {
    segment::size::<Header, Database, Waiter>(slots())
}

/// One for each worker, and one more to look into a database while all workers are in use.
fn slots() -> usize {
    settings::max_workers() + 1
}

impl Shared {
    /// The server's shared memory; none when the library was not in `shared_preload_libraries`.
    pub(crate) fn get() -> Option<Self> {
        let (header, databases, waiters) = segment::map(slots())?;
        Some(Self { header, databases, waiters })
    }

    /// Memory of this process's own, with one slot: for a worker in a server without the library
    /// preloaded.
    pub(crate) fn alone(oid: u32) -> Self {
        let databases = Box::leak(Box::new([Database::new()]));
        databases[0].open(oid, 0);
        Self { header: Box::leak(Box::new(Header::new())), databases, waiters: &[] }
    }

    /// True when it is this process's own: nobody else can mark or wake anything.
    pub(crate) fn is_alone(&self) -> bool {
        self.waiters.is_empty()
    }

    /// The slot of a database.
    pub(crate) fn database(&self, oid: u32) -> Option<&'static Database> {
        self.databases.iter().find(|slot| slot.oid() == oid)
    }

    /// Note that the launcher runs, or (`None`) no longer.
    pub(crate) fn set_launcher(&self, number: Option<usize>, pid: i32) {
        self.header.launcher.store(plus_one(number), Ordering::SeqCst);
        self.header.launcher_pid.store(pid, Ordering::SeqCst);
    }

    /// Process id of the launcher; 0 when it does not run.
    pub(crate) fn launcher_pid(&self) -> i32 {
        self.header.launcher_pid.load(Ordering::SeqCst)
    }

    /// Make the launcher look around.
    pub(crate) fn wake_launcher(&self) {
        if let Some(number) = minus_one(self.header.launcher.load(Ordering::SeqCst)) {
            pgq_pg::latch::wake(number);
        }
    }

    /// Tell the launcher that a database has the extension now, or wants its worker.
    pub(crate) fn announce(&self, oid: u32) {
        let stored = self.header.announced.iter().any(|entry| {
            entry.load(Ordering::SeqCst) == oid
                || entry.compare_exchange(0, oid, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        });
        if !stored {
            self.header.announced_more.store(true, Ordering::SeqCst);
        }
        self.wake_launcher();
    }

    /// Take what was announced; true when there was more than fits, so that any database may have.
    pub(crate) fn take_announced(&self) -> (Vec<u32>, bool) {
        let oids = self
            .header
            .announced
            .iter()
            .map(|entry| entry.swap(0, Ordering::SeqCst))
            .filter(|&oid| oid != 0)
            .collect();
        (oids, self.header.announced_more.swap(false, Ordering::SeqCst))
    }
}

impl Header {
    fn new() -> Self {
        Self {
            launcher: AtomicI32::new(0),
            launcher_pid: AtomicI32::new(0),
            announced: [const { AtomicU32::new(0) }; ANNOUNCED],
            announced_more: AtomicBool::new(false),
            waiting: AtomicI32::new(0),
            cascades: Count::new(),
            copies: Count::new(),
            problems: [const { Problem::new() }; PROBLEMS],
        }
    }
}

fn plus_one(number: Option<usize>) -> i32 {
    number.map_or(0, |number| i32::try_from(number + 1).expect("processes are numbered by an int"))
}

fn minus_one(stored: i32) -> Option<usize> {
    usize::try_from(stored.checked_sub(1)?).ok()
}
