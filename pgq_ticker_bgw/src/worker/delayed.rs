//! Delayed events and schedules: the worker sleeps until the next one is due.

use std::time::Duration;

use super::{Worker, micros, number};
use crate::settings;
use pgq_pg::session;
use pgq_pg::{activity, catalog};

/// Microseconds until there is something to do, for delayed events and for schedules; 0 or less:
/// there is; none: there is nothing.
const NEXT: &str = "\
    select (extract(epoch from n.delayed operator(pg_catalog.-) pg_catalog.clock_timestamp()) \
            operator(pg_catalog.*) 1000000)::pg_catalog.int8, \
           (extract(epoch from n.scheduled operator(pg_catalog.-) pg_catalog.clock_timestamp()) \
            operator(pg_catalog.*) 1000000)::pg_catalog.int8 \
      from (select pgq._next_delayed(), pgq._next_scheduled()) n (delayed, scheduled)";
const DELIVER: &str = "select pgq.maint_delayed()";
const SEND: &str = "select pgq.maint_schedules()";

/// Between two deliveries: what is due meanwhile goes together.
const APART: Duration = Duration::from_millis(5);
/// What is due and cannot be delivered is tried again after so long.
const FUTILE: Duration = Duration::from_millis(200);
/// How often to look all the same, for what was stored without the library's knowledge, and since
/// the clock on the wall may be set.
const LOOK: Duration = Duration::from_secs(10);

impl Worker {
    /// When delayed events are to be looked for.
    pub(super) fn delayed_due(&self) -> u64 {
        self.delayed_at
    }

    /// Somebody has stored some: look, but not more often than [`APART`].
    pub(super) fn hear_of_delayed(&mut self) {
        if self.slot.take_delayed_changed() {
            let soonest = self.delayed_done.saturating_add(micros(APART));
            self.delayed_at = self.delayed_at.min(soonest);
        }
    }

    /// Deliver some of those that are due, and find out when to look again.
    pub(super) fn deliver_delayed(&mut self) {
        self.look_for_delayed();
        // From its end on, so that others have their turn however long it takes.
        self.delayed_done = self.now();
    }

    fn look_for_delayed(&mut self) {
        let begin = self.now();
        self.delayed_at = begin.saturating_add(micros(LOOK));
        let next = self.in_transaction(None, || {
            // Before `alter extension pgq update` there are none.
            catalog::relation_oid(c"pgq", c"schedule").map(|_| session::query(NEXT, &[]))
        });
        let Ok(Some(next)) = next else { return };
        let mut waits =
            next.into_iter().flatten().map(|wait| wait.and_then(|wait| wait.parse::<i64>().ok()));
        let (mut called, mut moved) = (false, 0);
        for (task, call) in [("delayed events", DELIVER), ("schedules", SEND)] {
            let Some(wait) = waits.next().flatten() else { continue };
            if let Ok(wait) = u64::try_from(wait)
                && wait > 0
            {
                self.delayed_at = self.delayed_at.min(begin.saturating_add(wait));
                continue;
            }
            activity::busy(task);
            let result = self.attempt(task, "all queues", settings::maint_timeout(), || {
                session::query(call, &[])
            });
            moved += result.ok().as_deref().and_then(number).unwrap_or(0);
            called = true;
        }
        if called {
            // Triggers on event tables may have run.
            self.discard();
            let pause = if moved > 0 { APART } else { FUTILE };
            self.delayed_at = self.now().saturating_add(micros(pause));
        }
    }
}
