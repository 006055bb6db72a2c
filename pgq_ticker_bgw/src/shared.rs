//! What the processes of one server know together: the shared memory of the worker.
//!
//! Everything is an atomic, so there is no lock to hold, to wait for, or to leave behind. Zeroed
//! memory is a valid beginning. Who writes what:
//!
//! * a database's slot is given out and taken back by the launcher alone; the worker of that
//!   database writes the rest;
//! * committing backends set bits in [`Database::dirty`];
//! * a waiting backend owns the [`Waiter`] with its own process number.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use pgq_core::encode::opaque;

use pgq_pg::string::clip;
use pgq_pg::{segment, shareable};

use crate::settings;

/// Words of the dirty map. Queues whose ids are equal modulo 64 times this share a bit; that costs
/// a needless look, no more.
const DIRTY_WORDS: usize = 64;
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
        /// What is wrong, see [`crate::problems`].
        pub(crate) problems: [Problem; PROBLEMS],
    }
}

/// Where one database's worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    /// The launcher will start it when its time comes.
    Idle = 0,
    /// Asked of the postmaster, not there yet.
    Starting = 1,
    /// Connected and working.
    Running = 2,
    /// Stepped aside for somebody who needs the database without connections.
    Yielded = 3,
    /// Ended by an error or a signal; will be started again.
    Failed = 4,
    /// Stopped by `pgq.stop_worker()`; stays so until `pgq.start_worker()` or a restart of the
    /// server.
    Stopped = 5,
    /// Found no extension `pgq`.
    Absent = 6,
    /// Found the extension, but `pgq.max_workers` databases have a worker already.
    Full = 7,
}

impl State {
    fn from_u32(value: u32) -> Self {
        match value {
            1 => Self::Starting,
            2 => Self::Running,
            3 => Self::Yielded,
            4 => Self::Failed,
            5 => Self::Stopped,
            6 => Self::Absent,
            7 => Self::Full,
            _ => Self::Idle,
        }
    }

    /// The word SQL shows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "waiting to start",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Yielded => "stepped aside",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Absent => "no extension",
            Self::Full => "no free worker",
        }
    }
}

shareable! {
    /// One database that has, or may have, a worker.
    #[repr(align(64))]
    pub(crate) struct Database {
        /// Oid of the database; 0: the slot is free. Written last when the slot is given out.
        oid: AtomicU32,
        state: AtomicU32,
        /// When the state began, microseconds of PostgreSQL's epoch.
        pub(crate) since: AtomicI64,
        pub(crate) pid: AtomicI32,
        /// Process number of the worker plus one; 0: none.
        worker: AtomicI32,
        stop: AtomicBool,
        pub(crate) restarts: AtomicI64,
        pub(crate) last_tick: AtomicI64,
        pub(crate) ticks: AtomicI64,
        pub(crate) demand_ticks: AtomicI64,
        pub(crate) retries: AtomicI64,
        pub(crate) rotations: AtomicI64,
        pub(crate) vacuums: AtomicI64,
        pub(crate) errors: AtomicI64,
        pub(crate) error_at: AtomicI64,
        pub(crate) error: Text<32>,
        /// Some queue got events, or was marked otherwise, since the worker asked last.
        touched: AtomicBool,
        dirty: [AtomicU64; DIRTY_WORDS],
    }
}

shareable! {
    /// A backend in `wait_batch`.
    #[repr(align(64))]
    pub(crate) struct Waiter {
        /// Oid of its database; 0: it does not wait.
        database: AtomicU32,
        queue: AtomicI32,
        /// Grows with every wake-up, so that one that comes between check and sleep is seen.
        wakes: AtomicU32,
    }
}

shareable! {
    /// Something that went wrong and has not gone right since.
    #[repr(align(64))]
    pub(crate) struct Problem {
        /// Oid of the database; 0: free. Only that database's worker writes the rest.
        pub(crate) database: AtomicU32,
        pub(crate) count: AtomicI64,
        pub(crate) first: AtomicI64,
        pub(crate) last: AtomicI64,
        /// What was done: `tick`, `retry`, `maintenance`, `vacuum`.
        pub(crate) task: Text<4>,
        /// What it was done to: a queue's name or an operation.
        pub(crate) object: Text<24>,
        pub(crate) sqlstate: Text<1>,
        pub(crate) message: Text<32>,
    }
}

shareable! {
    /// A short text in shared memory, `WORDS` times 8 bytes in the encoding of the writer's
    /// database; what does not fit is cut at a character.
    ///
    /// One process writes it; readers that catch it in the middle try again.
    pub(crate) struct Text[const WORDS] {
        /// Odd while it is being written.
        version: AtomicU32,
        len: AtomicU32,
        words: [AtomicU64; WORDS],
    }
}

impl<const WORDS: usize> Text<WORDS> {
    const fn new() -> Self {
        Self {
            version: AtomicU32::new(0),
            len: AtomicU32::new(0),
            words: [const { AtomicU64::new(0) }; WORDS],
        }
    }

    /// True when the text is this one, or as much of it as fits.
    pub(crate) fn holds(&self, text: &str) -> bool {
        *opaque::encode(&self.load()) == *clip(text, WORDS * 8)
    }

    /// Replace the text.
    pub(crate) fn store(&self, text: &str) {
        let bytes = clip(text, WORDS * 8);
        self.version.fetch_add(1, Ordering::SeqCst);
        for (index, word) in self.words.iter().enumerate() {
            let mut buffer = [0; 8];
            for (to, from) in buffer.iter_mut().zip(bytes.iter().skip(index * 8)) {
                *to = *from;
            }
            word.store(u64::from_le_bytes(buffer), Ordering::SeqCst);
        }
        self.len.store(u32::try_from(bytes.len()).unwrap_or(0), Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The text; empty when the writer died in the middle of it.
    pub(crate) fn load(&self) -> String {
        for _ in 0..1000 {
            let before = self.version.load(Ordering::SeqCst);
            let len = usize::try_from(self.len.load(Ordering::SeqCst)).unwrap_or(0);
            let mut bytes: Vec<u8> = self
                .words
                .iter()
                .flat_map(|word| word.load(Ordering::SeqCst).to_le_bytes())
                .collect();
            if before.is_multiple_of(2) && self.version.load(Ordering::SeqCst) == before {
                bytes.truncate(len);
                return opaque::decode(&bytes).into_owned();
            }
            std::hint::spin_loop();
        }
        String::new()
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

    /// Ids of the database's queues that somebody waits for, each once.
    pub(crate) fn waited_queues(&self, oid: u32) -> Vec<i32> {
        if self.header.waiting.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let mut queues: Vec<i32> = self
            .waiters
            .iter()
            .filter(|waiter| waiter.database.load(Ordering::SeqCst) == oid)
            .map(|waiter| waiter.queue.load(Ordering::SeqCst))
            .collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }

    /// Wake the backends of the database that wait for the queue, or (`None`) for any.
    pub(crate) fn wake_waiters(&self, oid: u32, queue: Option<i32>) {
        if self.header.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        for (number, waiter) in self.waiters.iter().enumerate() {
            if waiter.database.load(Ordering::SeqCst) == oid
                && queue.is_none_or(|queue| waiter.queue.load(Ordering::SeqCst) == queue)
            {
                waiter.wakes.fetch_add(1, Ordering::SeqCst);
                pgq_pg::latch::wake(number);
            }
        }
    }

    /// How many backends of the database wait for the queue.
    pub(crate) fn count_waiters(&self, oid: u32, queue: i32) -> usize {
        self.waiters
            .iter()
            .filter(|waiter| {
                waiter.database.load(Ordering::SeqCst) == oid
                    && waiter.queue.load(Ordering::SeqCst) == queue
            })
            .count()
    }

    /// Say that the backend with this number waits for a queue.
    pub(crate) fn begin_waiting(&self, number: usize, oid: u32, queue: i32) {
        let Some(waiter) = self.waiters.get(number) else { return };
        waiter.queue.store(queue, Ordering::SeqCst);
        if waiter.database.swap(oid, Ordering::SeqCst) == 0 {
            self.header.waiting.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Say that it waits no more.
    pub(crate) fn end_waiting(&self, number: usize) {
        let Some(waiter) = self.waiters.get(number) else { return };
        if waiter.database.swap(0, Ordering::SeqCst) != 0 {
            self.header.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// How often it was woken so far.
    pub(crate) fn wakes(&self, number: usize) -> u32 {
        self.waiters.get(number).map_or(0, |waiter| waiter.wakes.load(Ordering::SeqCst))
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
            problems: [const { Problem::new() }; PROBLEMS],
        }
    }
}

impl Problem {
    const fn new() -> Self {
        Self {
            database: AtomicU32::new(0),
            count: AtomicI64::new(0),
            first: AtomicI64::new(0),
            last: AtomicI64::new(0),
            task: Text::new(),
            object: Text::new(),
            sqlstate: Text::new(),
            message: Text::new(),
        }
    }

    /// True when it is the failure of that task for that object.
    pub(crate) fn is_about(&self, task: &str, object: &str) -> bool {
        self.task.holds(task) && self.object.holds(object)
    }
}

impl Database {
    fn new() -> Self {
        Self {
            oid: AtomicU32::new(0),
            state: AtomicU32::new(0),
            since: AtomicI64::new(0),
            pid: AtomicI32::new(0),
            worker: AtomicI32::new(0),
            stop: AtomicBool::new(false),
            restarts: AtomicI64::new(0),
            last_tick: AtomicI64::new(0),
            ticks: AtomicI64::new(0),
            demand_ticks: AtomicI64::new(0),
            retries: AtomicI64::new(0),
            rotations: AtomicI64::new(0),
            vacuums: AtomicI64::new(0),
            errors: AtomicI64::new(0),
            error_at: AtomicI64::new(0),
            error: Text::new(),
            touched: AtomicBool::new(false),
            dirty: [const { AtomicU64::new(0) }; DIRTY_WORDS],
        }
    }

    /// Oid of the database, 0 for a free slot.
    pub(crate) fn oid(&self) -> u32 {
        self.oid.load(Ordering::SeqCst)
    }

    /// Give the free slot to a database. Which of its queues have events nobody ticked is not
    /// known: all may.
    pub(crate) fn open(&self, oid: u32, now: i64) {
        for counter in [
            &self.restarts,
            &self.last_tick,
            &self.ticks,
            &self.demand_ticks,
            &self.retries,
            &self.rotations,
            &self.vacuums,
            &self.errors,
            &self.error_at,
        ] {
            counter.store(0, Ordering::SeqCst);
        }
        self.error.store("");
        self.stop.store(false, Ordering::SeqCst);
        self.pid.store(0, Ordering::SeqCst);
        self.worker.store(0, Ordering::SeqCst);
        self.set_state(State::Idle, now);
        self.mark_all_dirty();
        self.oid.store(oid, Ordering::SeqCst);
    }

    /// Take the slot back.
    pub(crate) fn close(&self) {
        self.oid.store(0, Ordering::SeqCst);
    }

    /// Where the worker stands.
    pub(crate) fn state(&self) -> State {
        State::from_u32(self.state.load(Ordering::SeqCst))
    }

    /// Change where the worker stands.
    pub(crate) fn set_state(&self, state: State, now: i64) {
        let number = match state {
            State::Idle => 0,
            State::Starting => 1,
            State::Running => 2,
            State::Yielded => 3,
            State::Failed => 4,
            State::Stopped => 5,
            State::Absent => 6,
            State::Full => 7,
        };
        self.since.store(now, Ordering::SeqCst);
        self.state.store(number, Ordering::SeqCst);
    }

    /// The worker's process is there, or (`None`) gone.
    pub(crate) fn set_worker(&self, number: Option<usize>, pid: i32) {
        self.worker.store(plus_one(number), Ordering::SeqCst);
        self.pid.store(pid, Ordering::SeqCst);
    }

    /// True while a worker's process has the slot.
    pub(crate) fn has_worker(&self) -> bool {
        self.worker.load(Ordering::SeqCst) != 0
    }

    /// Make the worker look around.
    pub(crate) fn wake_worker(&self) {
        if let Some(number) = minus_one(self.worker.load(Ordering::SeqCst)) {
            pgq_pg::latch::wake(number);
        }
    }

    /// Ask the worker to stop, or withdraw that.
    pub(crate) fn set_stop(&self, stop: bool) {
        self.stop.store(stop, Ordering::SeqCst);
    }

    /// True when the worker is to stop and to stay so.
    pub(crate) fn stop_is_asked(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Note that a committed transaction has put events into the queue. True when that is news.
    pub(crate) fn mark_dirty(&self, queue: i32) -> bool {
        // Read first: backends that commit at the same time would fight for the cache line.
        if !self.touched.load(Ordering::SeqCst) {
            self.touched.store(true, Ordering::SeqCst);
        }
        let (word, bit) = place(queue);
        self.dirty.get(word).is_some_and(|word| word.fetch_or(bit, Ordering::SeqCst) & bit == 0)
    }

    /// Note that any queue may have events nobody ticked.
    pub(crate) fn mark_all_dirty(&self) {
        self.touched.store(true, Ordering::SeqCst);
        for word in &self.dirty {
            word.store(u64::MAX, Ordering::SeqCst);
        }
    }

    /// True when some queue was marked since the last call.
    pub(crate) fn take_touched(&self) -> bool {
        self.touched.swap(false, Ordering::SeqCst)
    }

    /// True when the queue may have events nobody ticked.
    pub(crate) fn is_dirty(&self, queue: i32) -> bool {
        let (word, bit) = place(queue);
        self.dirty.get(word).is_some_and(|word| word.load(Ordering::SeqCst) & bit != 0)
    }

    /// To be called before the tick's snapshot is taken: whatever commits later marks the queue
    /// again.
    pub(crate) fn clear_dirty(&self, queue: i32) {
        let (word, bit) = place(queue);
        if let Some(word) = self.dirty.get(word) {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
    }
}

fn place(queue: i32) -> (usize, u64) {
    let index = usize::try_from(queue.unsigned_abs()).unwrap_or(0) % (DIRTY_WORDS * 64);
    (index / 64, 1 << (index % 64))
}

fn plus_one(number: Option<usize>) -> i32 {
    number.and_then(|number| i32::try_from(number).ok()).map_or(0, |number| number + 1)
}

fn minus_one(stored: i32) -> Option<usize> {
    usize::try_from(stored.checked_sub(1)?).ok()
}
