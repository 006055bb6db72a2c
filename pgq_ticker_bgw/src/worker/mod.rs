//! The worker of one database: its process and its main loop.
//!
//! Each turn of the loop gives queues that somebody waits for their ticks first, then does one
//! piece of everything else, so that no long list of maintenance stands between an event and its
//! consumer. When nothing is due it sleeps until its latch is set.

mod attempt;
mod cascades;
mod database;
mod delayed;
mod maintenance;
mod slot;
mod tick;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use pgq_ticker_core::schedule::{Gates, Timer};
use pgq_ticker_core::state::State;

use crate::cascade::crew::{self, Keeper};
use crate::shared::{Database, Shared};
use crate::{problems, settings};
use pgq_pg::process::{self, Kind};
use pgq_pg::session::{self, Row};
use pgq_pg::{activity, catalog, guc, latch, report, rights};

/// What a worker is called.
pub(crate) const KIND: Kind =
    Kind { library: c"pgq", name: c"pgq worker", entry: c"pgq_worker_main", restart: None };

/// How often the worker looks whether somebody needs the database without sessions. DROP DATABASE
/// looks for five seconds.
const LOOK_ASIDE: Duration = Duration::from_millis(400);

/// So long after the last event a database counts as quiet, and is looked at every few periods of
/// the ticker.
const QUIET: Duration = Duration::from_secs(10);
const QUIET_PERIODS: u64 = 4;

/// Added to a database's oid in the argument of a worker that runs without shared memory.
pub(crate) const ALONE: usize = 1 << 40;

/// A worker in its database.
struct Worker {
    shared: Shared,
    slot: &'static Database,
    database: u32,
    name: String,
    /// The role whose this session is, and which everything but VACUUM runs as. None: it does not
    /// exist, and nothing is run.
    role: Option<u32>,
    began: Instant,
    gates: Gates,
    aside: Timer,
    ticker: Timer,
    retry: Timer,
    maintain: Timer,
    /// Operations of the current maintenance round that are still to do.
    operations: VecDeque<maintenance::Operation>,
    /// When some queue was last seen to get events.
    touched: u64,
    /// Looks in a row that found retry events due which could not be moved.
    futile_retries: u32,
    /// Queues to be ticked on demand whose mark was taken for others that share it.
    owed: Vec<i32>,
    /// Newest tick of each queue somebody waits for, to see ticks that others make.
    newest: HashMap<i32, i64>,
    /// Names of these queues, for messages.
    names: HashMap<i32, String>,
    /// When delayed events are to be looked for, and when that was done.
    delayed_at: u64,
    delayed_done: u64,
    /// Workers of replication.
    cascades: Keeper,
}

/// Run until told to end. `argument` is the number of the slot, or [`ALONE`] plus the database's
/// oid.
pub(crate) fn main(argument: usize) {
    process::accept_signals();
    let Some((shared, slot)) = slot::take(argument) else { process::exit(1) };
    let database = slot.oid();
    slot.set_worker(latch::my_number(), process::my_pid());
    process::connect(database);
    let name = match session::transaction(database::prepare_session) {
        Ok(name) => name,
        Err(failure) => slot::fail(slot, &failure),
    };
    activity::name(&format!("pgq worker: {name}"));
    match session::transaction(|| catalog::has_extension("pgq")) {
        Ok(true) => {}
        Ok(false) => slot::end(slot, State::Absent),
        Err(failure) => slot::fail(slot, &failure),
    }
    if argument + 1 == shared.databases.len() && argument > 0 {
        slot::end(slot, State::Full);
    }
    slot.set_state(State::Running, process::timestamp());
    shared.wake_launcher();
    report::log(&format!("pgq worker for database \"{name}\" started"));
    let mut worker = Worker {
        shared,
        slot,
        database,
        name,
        role: None,
        began: Instant::now(),
        gates: Gates::default(),
        aside: Timer::default(),
        ticker: Timer::default(),
        retry: Timer::default(),
        maintain: Timer::default(),
        operations: VecDeque::new(),
        touched: 0,
        futile_retries: 0,
        owed: Vec::new(),
        newest: HashMap::new(),
        names: HashMap::new(),
        delayed_at: 0,
        delayed_done: 0,
        cascades: Keeper::new(),
    };
    worker.run();
}

impl Worker {
    fn run(&mut self) -> ! {
        self.look_aside();
        let event = latch::WaitEvent::named(c"PgqWorkerMain");
        loop {
            if process::end_is_asked() {
                let farewell = format!("pgq worker for database \"{}\" ends", self.name);
                process::exit_as_asked(0, &farewell);
            }
            process::check_interrupts();
            // Also after a change of the configuration.
            self.slot.set_synchronous_commit(commit_level());
            if self.slot.stop_is_asked() {
                crew::end_all();
                report::log(&format!("pgq worker for database \"{}\" stopped", self.name));
                slot::end(self.slot, State::Stopped);
            }
            if self.slot.take_touched() {
                self.touched = self.now();
            }
            self.hear_of_delayed();
            let next_tick = self.tick_on_demand();
            if self.do_one_thing() {
                continue;
            }
            activity::idle();
            let pause = self.pause(next_tick);
            if !pause.is_zero() {
                latch::sleep(pause, event);
            }
        }
    }

    /// Do one piece of what is due; false when nothing is.
    fn do_one_thing(&mut self) -> bool {
        let now = self.now();
        if now >= self.aside_due() {
            self.look_aside();
            self.aside.rearm(now);
        } else if now >= self.delayed_due() {
            self.deliver_delayed();
        } else if now >= self.ticker_due() {
            self.tick_by_rule();
            self.ticker.rearm(now);
        } else if now >= self.retry_due() {
            if !self.retry_some() {
                self.retry.rearm(now);
            }
        } else if let Some(operation) = self.operations.pop_front() {
            self.operate(operation);
        } else if now >= self.maintain_due() {
            self.plan_maintenance();
            self.maintain.rearm(now);
        } else {
            return false;
        }
        true
    }

    fn pause(&self, next_tick: Option<u64>) -> Duration {
        let next = self
            .aside_due()
            .min(self.ticker_due())
            .min(self.retry_due())
            .min(self.delayed_due())
            .min(self.maintain_due())
            .min(next_tick.unwrap_or(u64::MAX));
        Duration::from_micros(next.saturating_sub(self.now()))
    }

    fn aside_due(&self) -> u64 {
        self.aside.due(micros(LOOK_ASIDE))
    }

    // Where nothing happens it is enough to look less often: only idle ticks can be due, and events
    // that came without the library's knowledge (COPY into an event table).
    fn ticker_due(&self) -> u64 {
        let quiet =
            !self.shared.is_alone() && self.now().saturating_sub(self.touched) > micros(QUIET);
        let periods = if quiet { QUIET_PERIODS } else { 1 };
        self.ticker.due(micros(settings::ticker_period()).saturating_mul(periods))
    }

    // A call that moves nothing warns in the server log: call less often then, down to once in a
    // hundred periods.
    fn retry_due(&self) -> u64 {
        let periods = u64::from(1 + self.futile_retries.min(99));
        self.retry.due(micros(settings::retry_period()).saturating_mul(periods))
    }

    fn maintain_due(&self) -> u64 {
        self.maintain.due(micros(settings::maint_period()))
    }

    /// End if there is no more to do here: the extension is gone, or the database is needed without
    /// sessions. Follow the role.
    fn look_aside(&mut self) {
        let (database, own) = (self.database, self.role);
        let seen = session::transaction(|| {
            let role = catalog::role("pgq_admin");
            if let Some(role) = role.filter(|_| role != own) {
                rights::become_role(role);
            }
            let wishes = catalog::relation_oid(c"londiste", c"worker");
            let is_claimed = catalog::database_is_claimed(database);
            (catalog::has_extension("pgq"), is_claimed, role, wishes)
        });
        match seen {
            Ok((false, _, _, _)) => {
                crew::end_all();
                problems::forget(&self.shared, self.database, None);
                report::log(&format!(
                    "pgq worker for database \"{}\" ends: no extension",
                    self.name
                ));
                slot::end(self.slot, State::Absent)
            }
            Ok((_, true, _, _)) => {
                crew::end_all();
                slot::end(self.slot, State::Yielded)
            }
            Ok((_, _, role, wishes)) => {
                self.role = role;
                self.keep_cascades(wishes.map(|oid| oid.to_u32()));
            }
            Err(failure) => slot::fail(self.slot, &failure),
        }
    }

    /// Microseconds since the worker began, whatever happens to the clock on the wall.
    fn now(&self) -> u64 {
        micros(self.began.elapsed())
    }
}

/// How far ticks that others lay for the worker have to wait; none where that is for a standby.
fn commit_level() -> Option<i32> {
    let level = guc::synchronous_commit();
    (level <= guc::LOCAL_COMMIT || !guc::has_synchronous_standbys()).then_some(level)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The first column of the first row, as a number.
fn number(rows: &[Row]) -> Option<i64> {
    rows.first()?.first()?.as_ref()?.parse().ok()
}
