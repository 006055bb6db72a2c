//! The launcher: one per server. Keeps a worker running in each database that has the extension.
//!
//! Which databases have it cannot be seen from outside. So a worker is started in each new database
//! once; where it finds no extension it ends, and is not started again until `CREATE EXTENSION pgq`
//! announces itself (the extension's script does, see `pgq._announce()`).

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::shared::{Database, Shared, State};
use crate::{problems, settings, worker};
use pgq_pg::process::{self, Kind, Started};
use pgq_pg::{activity, catalog, latch, report, session};

/// What the launcher is called.
pub(crate) const KIND: Kind =
    Kind { library: c"pgq", name: c"pgq launcher", entry: c"pgq_launcher_main", restart: Some(5) };

/// Workers that may be on their way up at the same time, so that a server with many databases is
/// not flooded.
const STARTING_AT_ONCE: usize = 2;
/// How soon to look again whether a database that a worker has stepped aside from is free.
const CLAIMED_PAUSE: Duration = Duration::from_millis(200);
/// A worker that ends after less than this is started again more and more slowly.
const SETTLED: Duration = Duration::from_secs(60);
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LAST_BACKOFF: Duration = Duration::from_secs(60);
/// A start that a former launcher has asked for and nobody heard of again.
const LOST_START: i64 = 30_000_000;

/// What is known of a database.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    has_extension: Option<bool>,
    /// Announced while a worker was there: if that one finds no extension, it may have looked too
    /// early.
    look_again: bool,
    not_before: Instant,
    backoff: Duration,
    started: Instant,
    /// `pgq.max_workers` was in the way, and that was logged.
    told_full: bool,
}

struct Launcher {
    shared: Shared,
    databases: HashMap<u32, Known>,
    handles: HashMap<u32, Started>,
    next_discovery: Instant,
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
        next_discovery: Instant::now(),
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
        let now = Instant::now();
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
        wake.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    fn take_announcements(&mut self) {
        let (announced, more) = self.shared.take_announced();
        for oid in announced {
            match self.databases.get_mut(&oid) {
                Some(known) => {
                    known.look_again = true;
                    if known.has_extension != Some(true) {
                        known.has_extension = None;
                    }
                    known.not_before = Instant::now();
                }
                // A database created since the last look.
                None => self.next_discovery = Instant::now(),
            }
        }
        if more {
            for known in
                self.databases.values_mut().filter(|known| known.has_extension != Some(true))
            {
                known.has_extension = None;
            }
            self.next_discovery = Instant::now();
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
        let now = Instant::now();
        for row in rows.iter().filter(|row| usable(row.oid).is_some()) {
            let known = self.databases.entry(row.oid).or_insert_with(|| Known {
                name: String::new(),
                has_extension: None,
                look_again: false,
                not_before: now,
                backoff: FIRST_BACKOFF,
                started: now,
                told_full: false,
            });
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
            let lost = match self.handles.get(&oid) {
                Some(handle) => handle.has_ended(),
                None => slot.since.load(Ordering::SeqCst) + LOST_START < now,
            };
            // The worker may have said why in the meantime.
            if !lost || slot.has_worker() || slot.state() != State::Starting {
                return;
            }
            slot.set_state(State::Failed, now);
        }
        let Some(known) = self.databases.get_mut(&oid) else { return self.close(slot) };
        match slot.state() {
            State::Absent => {
                known.has_extension = if known.look_again { None } else { Some(false) };
                known.look_again = false;
                known.backoff = FIRST_BACKOFF;
                self.close(slot);
            }
            State::Full => {
                known.has_extension = Some(true);
                if !known.told_full {
                    known.told_full = true;
                    report::warning(&format!(
                        "pgq: no worker for database \"{}\": all pgq.max_workers are in use",
                        known.name
                    ));
                }
                self.close(slot);
            }
            State::Failed => {
                let settled = known.started.elapsed() >= SETTLED;
                let pause = if settled { FIRST_BACKOFF } else { known.backoff };
                known.backoff = (pause * 2).min(LAST_BACKOFF);
                known.not_before = Instant::now() + pause;
                slot.restarts.fetch_add(1, Ordering::SeqCst);
                slot.set_state(State::Idle, now);
            }
            State::Yielded if self.handles.remove(&oid).is_some() => {
                known.not_before = Instant::now() + CLAIMED_PAUSE;
            }
            State::Idle if slot.stop_is_asked() => slot.set_state(State::Stopped, now),
            State::Stopped if !slot.stop_is_asked() => slot.set_state(State::Idle, now),
            State::Starting | State::Idle | State::Running | State::Yielded | State::Stopped => {}
        }
    }

    /// Give slots to databases that have the extension or were never looked into.
    fn open_slots(&mut self) {
        let Some((last, regular)) = self.shared.databases.split_last() else { return };
        let mut wanting: Vec<(u32, Option<bool>)> = self
            .databases
            .iter()
            .filter(|(oid, known)| {
                known.has_extension != Some(false) && self.shared.database(**oid).is_none()
            })
            .map(|(&oid, known)| (oid, known.has_extension))
            .collect();
        // Who is known to have it comes first.
        wanting.sort_unstable_by_key(|&(oid, has)| (has.is_none(), oid));
        for (oid, has_extension) in wanting {
            let free = regular.iter().find(|slot| slot.oid() == 0).or_else(|| {
                // The last slot is for looking only.
                (has_extension.is_none() && last.oid() == 0).then_some(last)
            });
            if let Some(slot) = free {
                slot.open(oid, process::timestamp());
            }
        }
    }

    /// Start the slot's worker if it is time; when to look again.
    fn start_if_due(&mut self, slot: &'static Database) -> Option<Instant> {
        let oid = slot.oid();
        if oid == 0 {
            return None;
        }
        if slot.state() == State::Starting {
            // The postmaster wakes us when the process begins or ends; this is for the case that it
            // cannot.
            return Some(Instant::now() + Duration::from_secs(1));
        }
        if !matches!(slot.state(), State::Idle | State::Yielded) || slot.has_worker() {
            return None;
        }
        let known = self.databases.get_mut(&oid)?;
        let now = Instant::now();
        if now < known.not_before {
            return Some(known.not_before);
        }
        let starting = self
            .shared
            .databases
            .iter()
            .filter(|slot| slot.oid() != 0 && slot.state() == State::Starting)
            .count();
        if starting >= STARTING_AT_ONCE {
            return None;
        }
        // A session that begins now would stand in the way of DROP DATABASE and the like, or die of
        // it.
        match session::transaction(|| is_free(oid)) {
            Ok(true) => {}
            Ok(false) => {
                known.not_before = now + CLAIMED_PAUSE;
                return Some(known.not_before);
            }
            Err(failure) => {
                report::warning(&format!(
                    "pgq launcher cannot look at a database: {}",
                    failure.message
                ));
                known.not_before = now + LAST_BACKOFF;
                return Some(known.not_before);
            }
        }
        let number = self.shared.databases.iter().position(|other| other.oid() == oid)?;
        slot.set_state(State::Starting, process::timestamp());
        known.started = now;
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
                        "pgq: no background worker slot is free for database \"{}\": raise max_worker_processes",
                        known.name
                    ));
                }
                known.not_before = now + Duration::from_secs(1);
                Some(known.not_before)
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
