//! The launcher: one per server. Keeps a worker running in each database that has the extension.
//!
//! Which databases have it cannot be seen from outside. So a worker is started in each new database
//! once; where it finds no extension it ends, and is not started again until `CREATE EXTENSION pgq`
//! announces itself (the extension's script does, see `pgq._announce()`).
//!
//! What follows from what is seen [`keeper`] decides; this module looks, and does it.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pgq_pg::process::{self, Kind, Started};
use pgq_pg::{activity, catalog, latch, report, session};
use pgq_ticker_core::keeper::{self, Candidate, Seat, Start, Verdict};
use pgq_ticker_core::state::State;

use crate::shared::{Database, Shared};
use crate::{problems, settings, worker};

/// What the launcher is called.
pub(crate) const KIND: Kind =
    Kind { library: c"pgq", name: c"pgq launcher", entry: c"pgq_launcher_main", restart: Some(5) };

/// A database as the launcher knows it.
struct Known {
    name: String,
    candidate: Candidate,
}

struct Launcher {
    shared: Shared,
    databases: HashMap<u32, Known>,
    handles: HashMap<u32, Started>,
    began: Instant,
    next_discovery: Duration,
    told_no_process: bool,
}

/// Run until the server stops. An error ends the process; the postmaster starts it again.
pub(crate) fn main(_argument: usize) {
    process::accept_signals();
    let Some(shared) = Shared::get() else { process::exit(0) };
    process::connect(0);
    activity::name("pgq launcher");
    shared.set_launcher(latch::my_number(), process::my_pid());
    process::at_exit(leave);
    report::log("pgq launcher started");
    let mut launcher = Launcher {
        shared,
        databases: HashMap::new(),
        handles: HashMap::new(),
        began: Instant::now(),
        next_discovery: Duration::ZERO,
        told_no_process: false,
    };
    let event = latch::WaitEvent::named(c"PgqLauncherMain");
    loop {
        if process::end_is_asked() {
            process::exit_as_asked(1, "pgq launcher ends");
        }
        process::check_interrupts();
        let pause = launcher.look_around();
        activity::idle();
        latch::sleep(pause, event);
    }
}

fn leave() {
    if let Some(shared) = Shared::get() {
        shared.set_launcher(None, 0);
    }
}

impl Launcher {
    /// Do what is due; the time until something else may be.
    fn look_around(&mut self) -> Duration {
        self.take_announcements();
        let now = self.now();
        if now >= self.next_discovery {
            self.discover();
            self.next_discovery = now + settings::discovery_period();
        }
        for slot in self.shared.databases {
            self.review(slot);
        }
        self.open_slots();
        let mut wake = self.next_discovery;
        for slot in self.shared.databases {
            if let Some(due) = self.start_if_due(slot) {
                wake = wake.min(due);
            }
        }
        wake.saturating_sub(self.now()).max(Duration::from_millis(1))
    }

    /// How long it has been running.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn take_announcements(&mut self) {
        let (announced, more) = self.shared.take_announced();
        let now = self.now();
        for oid in announced {
            match self.databases.get_mut(&oid) {
                Some(known) => known.candidate.announced(now),
                // A database created since the last look.
                None => self.next_discovery = now,
            }
        }
        if more {
            self.databases.values_mut().for_each(|known| known.candidate.doubt());
            self.next_discovery = now;
        }
    }

    fn discover(&mut self) {
        activity::busy("look for databases");
        let rows = match session::transaction(catalog::databases) {
            Ok(rows) => rows,
            Err(failure) => {
                report::warning(&format!(
                    "pgq launcher cannot read pg_database: {}",
                    failure.message
                ));
                return;
            }
        };
        let usable = |oid: u32| {
            rows.iter().find(|row| row.oid == oid && row.accepts_connections && !row.is_template)
        };
        self.databases.retain(|&oid, _| usable(oid).is_some());
        for slot in self.shared.databases {
            if slot.oid() != 0 && usable(slot.oid()).is_none() && !slot.has_worker() {
                self.close(slot);
            }
        }
        let now = self.now();
        for row in rows.iter().filter(|row| usable(row.oid).is_some()) {
            let known = self
                .databases
                .entry(row.oid)
                .or_insert_with(|| Known { name: String::new(), candidate: Candidate::new(now) });
            known.name.clone_from(&row.name);
        }
    }

    /// Draw the conclusions from how a worker ended.
    fn review(&mut self, slot: &'static Database) {
        let oid = slot.oid();
        if oid == 0 || slot.has_worker() {
            return;
        }
        let now = process::timestamp();
        if slot.state() == State::Starting {
            let has_ended = self.handles.get(&oid).map(Started::has_ended);
            let lost = keeper::is_lost(has_ended, slot.since.load(Ordering::SeqCst), now);
            // The worker may have said why in the meantime.
            if !lost || slot.has_worker() || slot.state() != State::Starting {
                return;
            }
            slot.set_state(State::Failed, now);
        }
        let began = self.began;
        let Some(known) = self.databases.get_mut(&oid) else { return self.close(slot) };
        let state = slot.state();
        let is_news = state != State::Yielded || self.handles.remove(&oid).is_some();
        let stop = slot.stop_is_asked();
        match known.candidate.review(state, stop, is_news, began.elapsed()) {
            Verdict::Leave => {}
            Verdict::Close => self.close(slot),
            Verdict::CloseFull { tell } => {
                if tell {
                    report::warning(&format!(
                        "pgq: no worker for database \"{}\": all pgq.max_workers are in use",
                        known.name
                    ));
                }
                self.close(slot);
            }
            Verdict::Restart => {
                slot.restarts.fetch_add(1, Ordering::SeqCst);
                slot.set_state(State::Idle, now);
            }
            Verdict::Become(state) => slot.set_state(state, now),
        }
    }

    /// Give slots to databases that have the extension or were never looked into.
    fn open_slots(&mut self) {
        let Some((last, regular)) = self.shared.databases.split_last() else { return };
        let wanting =
            self.databases.iter().filter(|(oid, _)| self.shared.database(**oid).is_none());
        let wanting = wanting.map(|(&oid, known)| (oid, known.candidate.has_extension())).collect();
        let free: Vec<&Database> = regular.iter().filter(|slot| slot.oid() == 0).collect();
        let seated = keeper::seat(wanting, free.len(), last.oid() == 0);
        let mut free = free.into_iter();
        for (oid, seat) in seated {
            let slot = match seat {
                Seat::Regular => free.next().expect("no more are seated than seats are free"),
                Seat::Spare => last,
            };
            slot.open(oid, process::timestamp());
        }
    }

    /// Start the slot's worker if it is time; when to look again.
    fn start_if_due(&mut self, slot: &'static Database) -> Option<Duration> {
        let oid = slot.oid();
        if oid == 0 {
            return None;
        }
        let now = self.now();
        let starting = self.shared.databases.iter();
        let starting =
            starting.filter(|slot| slot.oid() != 0 && slot.state() == State::Starting).count();
        let Some(Known { name, candidate }) = self.databases.get_mut(&oid) else {
            // Dropped while its worker starts: reviewed when that is there, or lost.
            return (slot.state() == State::Starting).then_some(now + keeper::START_PAUSE);
        };
        match candidate.start(slot.state(), slot.has_worker(), starting, now) {
            Start::Now => {}
            Start::At(due) => return Some(due),
            Start::No => return None,
        }
        // A session that begins now would stand in the way of DROP DATABASE and the like, or die of
        // it.
        match session::transaction(|| is_free(oid)) {
            Ok(true) => {}
            Ok(false) => return Some(candidate.is_claimed(now)),
            Err(failure) => {
                report::warning(&format!(
                    "pgq launcher cannot look at a database: {}",
                    failure.message
                ));
                return Some(candidate.is_out_of_sight(now));
            }
        }
        let number = self.shared.databases.iter().position(|other| other.oid() == oid)?;
        slot.set_state(State::Starting, process::timestamp());
        candidate.started(now);
        match process::start(worker::KIND, number) {
            Some(handle) => {
                self.handles.insert(oid, handle);
                self.told_no_process = false;
                None
            }
            None => {
                slot.set_state(State::Idle, process::timestamp());
                slot.error.store("no background worker slot is free: raise max_worker_processes");
                slot.error_at.store(process::timestamp(), Ordering::SeqCst);
                if !self.told_no_process {
                    self.told_no_process = true;
                    report::warning(&format!(
                        "pgq: no background worker slot is free for database \"{name}\": \
                         raise max_worker_processes"
                    ));
                }
                Some(candidate.has_no_process(now))
            }
        }
    }

    fn close(&mut self, slot: &'static Database) {
        problems::forget(&self.shared, slot.oid(), None);
        self.handles.remove(&slot.oid());
        slot.close();
    }
}

// True when the database exists and nobody needs it without sessions.
fn is_free(oid: u32) -> bool {
    !catalog::database_is_claimed(oid) && catalog::databases().iter().any(|row| row.oid == oid)
}
