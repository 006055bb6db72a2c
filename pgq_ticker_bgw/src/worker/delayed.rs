//! Delayed events: the worker sleeps until the next one is due.

use std::time::Duration;

use super::{Worker, micros, number};
use crate::settings;
use pgq_pg::session;
use pgq_pg::{activity, catalog};

/// Microseconds until there is something to do; 0 or less: there is; none: there is nothing.
const NEXT: &str = "\
    select (extract(epoch from pgq._next_delayed() operator(pg_catalog.-) \
                               pg_catalog.clock_timestamp()) \
            operator(pg_catalog.*) 1000000)::pg_catalog.int8";

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
        let begin = self.now();
        self.delayed_done = begin;
        self.delayed_at = begin.saturating_add(micros(LOOK));
        let next = self.in_transaction(None, || {
            // Before `alter extension pgq update` there are none.
            catalog::relation_oid(c"pgq", c"delayed").map(|_| session::query(NEXT, &[]))
        });
        let Ok(Some(next)) = next else { return };
        let Some(wait) = number(&next) else { return };
        if let Ok(wait) = u64::try_from(wait)
            && wait > 0
        {
            self.delayed_at = self.delayed_at.min(begin.saturating_add(wait));
            return;
        }
        activity::busy("deliver delayed events");
        // Triggers on event tables may run.
        let result =
            self.attempt("delayed events", "all queues", settings::maint_timeout(), || {
                session::query("select pgq.maint_delayed()", &[])
            });
        self.discard();
        let moved = result.ok().as_deref().and_then(number).unwrap_or(0);
        let pause = if moved > 0 { APART } else { FUTILE };
        self.delayed_at = self.now().saturating_add(micros(pause));
    }
}
