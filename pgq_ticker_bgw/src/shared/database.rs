//! The slot of one database: where its worker stands, what it has done, and which queues have
//! events that nobody ticked.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use pgq_pg::{latch, shareable};
use pgq_ticker_core::dirty;
use pgq_ticker_core::state::State;

use super::text::Text;
use super::{minus_one, plus_one};

/// Words of the dirty map, see [`dirty`].
const DIRTY_WORDS: usize = 64;

/// No level of `synchronous_commit`.
const NOT_KNOWN: i32 = -1;

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
        /// How far the worker's commits wait: its `synchronous_commit`, or [`NOT_KNOWN`].
        synchronous_commit: AtomicI32,
        stop: AtomicBool,
        /// londiste.worker was changed since the worker asked last.
        wishes_changed: AtomicBool,
        /// Delayed events were stored since the worker asked last.
        delayed_changed: AtomicBool,
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
        /// There are queues of so high ids that some may share their mark.
        shares: AtomicBool,
        dirty: [AtomicU64; DIRTY_WORDS],
    }
}

impl Database {
    pub(super) fn new() -> Self {
        Self {
            oid: AtomicU32::new(0),
            state: AtomicU32::new(0),
            since: AtomicI64::new(0),
            pid: AtomicI32::new(0),
            worker: AtomicI32::new(0),
            synchronous_commit: AtomicI32::new(NOT_KNOWN),
            stop: AtomicBool::new(false),
            wishes_changed: AtomicBool::new(false),
            delayed_changed: AtomicBool::new(false),
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
            shares: AtomicBool::new(false),
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
        self.synchronous_commit.store(NOT_KNOWN, Ordering::SeqCst);
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
        State::from_number(self.state.load(Ordering::SeqCst))
    }

    /// Change where the worker stands.
    pub(crate) fn set_state(&self, state: State, now: i64) {
        self.since.store(now, Ordering::SeqCst);
        self.state.store(state.number(), Ordering::SeqCst);
    }

    /// The worker's process is there, or (`None`) gone.
    pub(crate) fn set_worker(&self, number: Option<usize>, pid: i32) {
        self.synchronous_commit.store(NOT_KNOWN, Ordering::SeqCst);
        self.worker.store(plus_one(number), Ordering::SeqCst);
        self.pid.store(pid, Ordering::SeqCst);
    }

    /// True while a worker's process has the slot.
    pub(crate) fn has_worker(&self) -> bool {
        self.worker.load(Ordering::SeqCst) != 0
    }

    /// How far the worker's commits wait; none until it has said so.
    pub(crate) fn synchronous_commit(&self) -> Option<i32> {
        Some(self.synchronous_commit.load(Ordering::SeqCst)).filter(|level| *level != NOT_KNOWN)
    }

    /// Say how far the worker's commits wait.
    pub(crate) fn set_synchronous_commit(&self, level: Option<i32>) {
        self.synchronous_commit.store(level.unwrap_or(NOT_KNOWN), Ordering::SeqCst);
    }

    /// A tick was laid because somebody waited for it.
    pub(crate) fn count_demand_tick(&self, now: i64) {
        self.ticks.fetch_add(1, Ordering::SeqCst);
        self.demand_ticks.fetch_add(1, Ordering::SeqCst);
        self.last_tick.store(now, Ordering::SeqCst);
    }

    /// The worker's process; 0: none.
    pub(crate) fn process(&self) -> i32 {
        self.pid.load(Ordering::SeqCst)
    }

    /// Note that londiste.worker was changed.
    pub(crate) fn mark_wishes_changed(&self) {
        self.wishes_changed.store(true, Ordering::SeqCst);
    }

    /// True when it was since the last call.
    pub(crate) fn take_wishes_changed(&self) -> bool {
        self.wishes_changed.swap(false, Ordering::SeqCst)
    }

    /// Note that delayed events were stored. True when that is news.
    pub(crate) fn mark_delayed_changed(&self) -> bool {
        !self.delayed_changed.swap(true, Ordering::SeqCst)
    }

    /// True when some were since the last call.
    pub(crate) fn take_delayed_changed(&self) -> bool {
        self.delayed_changed.swap(false, Ordering::SeqCst)
    }

    /// Make the worker look around.
    pub(crate) fn wake_worker(&self) {
        if let Some(number) = minus_one(self.worker.load(Ordering::SeqCst)) {
            latch::wake(number);
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
        self.note_queue(queue);
        dirty::mark(&self.dirty, queue)
    }

    /// Note that any queue may have events nobody ticked.
    pub(crate) fn mark_all_dirty(&self) {
        self.touched.store(true, Ordering::SeqCst);
        dirty::mark_all(&self.dirty);
    }

    /// True when some queue was marked since the last call.
    pub(crate) fn take_touched(&self) -> bool {
        self.touched.swap(false, Ordering::SeqCst)
    }

    /// True when the queue may have events nobody ticked.
    pub(crate) fn is_dirty(&self, queue: i32) -> bool {
        dirty::is_marked(&self.dirty, queue)
    }

    /// To be called before the tick's snapshot is taken: whatever commits later marks the queue
    /// again.
    pub(crate) fn clear_dirty(&self, queue: i32) {
        self.note_queue(queue);
        dirty::clear(&self.dirty, queue);
    }

    /// True when clearing the mark of one queue clears that of the other.
    pub(crate) fn share_mark(&self, one: i32, other: i32) -> bool {
        dirty::share_bit(&self.dirty, one, other)
    }
    /// True when the queue's mark may be missing although it has events that nobody ticked: another
    /// one of that mark was ticked while nobody waited for this one.
    pub(crate) fn may_hide(&self, queue: i32) -> bool {
        self.note_queue(queue);
        self.shares.load(Ordering::SeqCst)
    }

    fn note_queue(&self, queue: i32) {
        if dirty::is_beyond(&self.dirty, queue) && !self.shares.load(Ordering::SeqCst) {
            self.shares.store(true, Ordering::SeqCst);
        }
    }
}
