//! This process, as the steps of replication see it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use pgq_pg::latch::{self, WaitEvent};
use pgq_pg::process::{self, Kind};
use pgq_pg::{activity, catalog, piece, report};
use pgq_replica::Session;
use pgq_replica::cascade::drive;

use super::here::Here;
use super::order::Order;
use super::problem::Problem;
use super::right::Right;
use super::there::There;
use super::wish::wish;
use super::{children, provider, right};
use crate::settings;
use crate::shared::Shared;

/// What the process of a copy is called.
const COPY: Kind = Kind {
    library: c"pgq",
    name: c"londiste copy",
    entry: c"pgq_londiste_copy_main",
    restart: None,
};

/// How often a process looks whether it is to be there at all.
const LOOK_ASIDE: Duration = Duration::from_millis(400);
/// So long after the start of a copy's process another one is started, if it has ended; twice as
/// long each further time, up to the latest.
const COPY_AGAIN: Duration = Duration::from_secs(2);
const LATEST: Duration = Duration::from_secs(60);
/// A table that was not asked for in so long is in order.
const FORGOTTEN: Duration = Duration::from_secs(5);
/// So many times as long as `pgq.provider_timeout` a provider may be waited for at most.
const PATIENCE: u32 = 16;
/// Errors that are over by themselves: a cancel, a lock, a deadlock.
const PASSING: [&str; 4] = ["57014", "55P03", "40001", "40P01"];

/// A table's copy.
struct Seat {
    asked: Instant,
    not_before: Instant,
    pause: Duration,
}

/// The process.
pub(super) struct Host {
    order: Order,
    /// Of a worker; a copier needs none.
    right: Option<Right>,
    /// For the log: which worker or copy it is.
    title: String,
    queue: String,
    began: Instant,
    event: WaitEvent,
    looked_aside: Option<Instant>,
    looked_for_wish: Instant,
    /// Copies that were started.
    copies: BTreeMap<i32, Seat>,
    /// That no process is free was said.
    told_full: bool,
    /// The role was a superuser when it was looked at first.
    is_superuser: Option<bool>,
    /// So many times as long as usual the next provider is waited for.
    patience: u32,
}

impl Host {
    pub(super) fn new(order: Order, queue: &str, title: String, right: Option<Right>) -> Self {
        let event = WaitEvent::named(c"PgqLondiste");
        let queue = queue.to_owned();
        let (looked_aside, copies, began) = (None, BTreeMap::new(), Instant::now());
        let looked_for_wish = began;
        Self {
            order,
            right,
            title,
            queue,
            began,
            event,
            looked_aside,
            looked_for_wish,
            copies,
            told_full: false,
            is_superuser: None,
            patience: 1,
        }
    }

    /// Has a provider said nothing for too long? It may need longer than that for the first row of
    /// a batch, each time: so the next connection has twice as long.
    pub(super) fn has_failed(&mut self, problem: &Problem) {
        if problem.is_silence() {
            self.patience = (self.patience * 2).min(PATIENCE);
        }
    }

    /// The provider answers: from the next connection on it has as long as usual.
    pub(super) fn has_heard(&mut self) {
        self.patience = 1;
    }

    /// End if that was asked for, if somebody needs the database without sessions, or if there is
    /// nothing to do here any more. To be called between two steps.
    pub(super) fn look_aside(&mut self) {
        if process::end_is_asked() {
            process::exit_as_asked(0, &format!("{} ends", self.title));
        }
        if self.looked_aside.is_some_and(|then| then.elapsed() < LOOK_ASIDE) {
            return;
        }
        self.looked_aside = Some(Instant::now());
        let Order { database, role, .. } = self.order;
        let looked = piece::begin().and_then(|()| {
            piece::attempt(|| {
                (
                    catalog::database_is_claimed(database),
                    catalog::relation_oid(c"londiste", c"worker").is_some(),
                    catalog::is_superuser(role.into()),
                )
            })
        });
        // A rollback would count as one.
        let looked = looked.and_then(|seen| piece::commit().map(|()| seen));
        piece::abort();
        let is_orphan = self.right.is_some()
            && Shared::get()
                .and_then(|shared| shared.database(database))
                .is_none_or(|slot| slot.process() != self.order.parent);
        match looked {
            // Where it may connect depends on what the role is.
            Ok((false, true, is_superuser))
                if !is_orphan && *self.is_superuser.get_or_insert(is_superuser) == is_superuser => {
            }
            Ok(_) => process::exit(0),
            Err(failure) if PASSING.contains(&failure.sqlstate.as_str()) => {}
            Err(failure) => {
                report::warning(&format!("{} cannot look around: {}", self.title, failure.message));
                process::exit(1)
            }
        }
    }
}

impl Host {
    /// End if nobody wishes for the worker any more whose copy this is: it may have gone before.
    pub(super) fn look_for_wish(&mut self, here: &mut Here) {
        if self.looked_for_wish.elapsed() >= LOOK_ASIDE {
            self.looked_for_wish = Instant::now();
            // What stands in the way of a look is gone at the next, or everything is.
            if matches!(wish(here, self.order), Ok(None)) {
                process::exit(0);
            }
        }
    }
}

impl drive::Host for Host {
    type Local = Here;
    type Remote = There;

    fn may_work(&mut self, here: &mut Here) -> Result<bool, Problem> {
        self.right.as_mut().map_or(Ok(true), |right| right.hold(here))
    }

    fn connect(
        &mut self,
        _here: &mut Here,
        node: &str,
        _location: &str,
        consumer: &str,
    ) -> Result<There, Problem> {
        let silence = settings::provider_timeout() * self.patience;
        provider::connect(self.order.role, node, consumer, silence)
    }

    fn copy(&mut self, here: &mut Here, worker: &str, table: &str) -> Result<bool, Problem> {
        let rows = here.rows(
            "select nr::pg_catalog.text
               from londiste.table_info
              where queue_name operator(pg_catalog.=) $1
                and table_name operator(pg_catalog.=) $2",
            &[self.queue.as_str().into(), table.into()],
        )?;
        // It may be removed while its copier has not unregistered.
        let Some(row) = rows.first() else { return Ok(false) };
        let number = row.number(0)?;
        let number = i32::try_from(number)
            .map_err(|_| pgq_replica::Error::Answer(format!("table {number}")))?;
        let now = Instant::now();
        // Of tables that are asked for no more nothing is known.
        self.copies.retain(|_, seat| now.duration_since(seat.asked) < FORGOTTEN);
        if let Some(seat) = self.copies.get_mut(&number) {
            seat.asked = now;
            if now < seat.not_before {
                return Ok(true);
            }
        }
        // One that an earlier worker has started goes on.
        if children::is_running(number)
            || right::is_copied(here, &drive::consumer_of_copy(worker, table))?
        {
            return Ok(true);
        }
        let pause =
            self.copies.get(&number).map_or(COPY_AGAIN, |seat| (seat.pause * 2).min(LATEST));
        self.copies.insert(number, Seat { asked: now, not_before: now + pause, pause });
        let order = Order { parent: process::my_pid(), ..self.order };
        let is_started = children::start(COPY, &format!("londiste copy: {table}"), number, order);
        if !is_started && !self.told_full {
            self.warn(&format_args!(
                "no background worker slot is free to copy table \"{table}\": raise \
                 max_worker_processes"
            ));
        }
        self.told_full = !is_started;
        Ok(true)
    }

    fn stop_copies(&mut self) {
        children::end_all();
    }

    fn pause(&mut self, at_most: Duration) {
        self.look_aside();
        activity::idle();
        latch::sleep(at_most, self.event);
        process::check_interrupts();
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn say(&mut self, what: &dyn Display) {
        report::log(&format!("{}: {what}", self.title));
    }

    fn warn(&mut self, what: &dyn Display) {
        report::warning(&format!("{}: {what}", self.title));
    }
}
