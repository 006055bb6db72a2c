//! Ticks: at once where somebody waits, by the classic rules elsewhere.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Worker, micros, number};
use crate::{problems, settings};
use pgq_pg::session::{self, Value};
use pgq_pg::{activity, process};

/// Queues where a tick may be due.
const DUE: &str = "\
    select q.queue_name from pgq._due_queues() d \
    join pgq.queue q on q.queue_id operator(pg_catalog.=) d order by q.queue_name";
/// Queues that get their ticks here.
const ALL: &str = "\
    select queue_name from pgq.queue \
    where not queue_external_ticker and not queue_ticker_paused order by queue_name";

/// A queue whose tick failed is left alone for so long.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

impl Worker {
    /// Tick each queue that has new events and a waiting consumer, unless it had a tick just now.
    /// When the first of those that have to wait may be ticked.
    pub(super) fn tick_on_demand(&mut self) -> Option<u64> {
        let waited = self.shared.waited_queues(self.database);
        if waited.is_empty() {
            return None;
        }
        self.owed.retain(|queue| waited.contains(queue));
        let is_due = |queue: &i32| self.slot.is_dirty(*queue) || self.owed.contains(queue);
        let dirty: Vec<i32> = waited.into_iter().filter(is_due).collect();
        let (open, next) = self.gates.open(&dirty, self.now());
        for queue in open {
            self.tick(queue);
        }
        let (owed, next_owed) = self.gates.open(&self.owed, self.now());
        let now = (!owed.is_empty()).then(|| self.now());
        now.into_iter().chain(next).chain(next_owed).min()
    }

    /// Take the queue's mark. It may have stood for others too, which are owed a tick then.
    fn take_mark(&mut self, queue: i32) {
        self.owed.retain(|&owed| owed != queue);
        if !self.slot.is_dirty(queue) {
            return;
        }
        self.slot.clear_dirty(queue);
        if !self.slot.may_hide(queue) {
            return;
        }
        // After the mark is gone: who begins to wait later marks its queue itself.
        for other in self.shared.waited_queues(self.database) {
            let is_twin = other != queue && self.slot.share_mark(queue, other);
            if is_twin && !self.owed.contains(&other) {
                self.owed.push(other);
            }
        }
    }

    fn tick(&mut self, queue: i32) {
        let begin = self.now();
        let name = self.names.get(&queue).cloned();
        activity::busy(&format!("tick {}", name.as_deref().unwrap_or_default()));
        self.take_mark(queue);
        let result = self.in_transaction(None, || {
            session::query(
                "select pgq._tick_on_demand(queue_name), queue_name from pgq.queue \
                 where queue_id operator(pg_catalog.=) $1",
                &[Value::Int4(queue)],
            )
        });
        match result {
            Ok(rows) => {
                let interval = settings::min_tick_interval();
                let interval = interval.unwrap_or(settings::ADAPTIVE_TICK_INTERVAL);
                self.gates.shut(queue, begin, micros(interval));
                if let Some(name) = rows.first().and_then(|row| row.get(1).cloned().flatten()) {
                    problems::resolve(&self.shared, self.database, "tick", &name);
                    self.names.insert(queue, name);
                }
                if let Some(tick) = number(&rows) {
                    self.newest.insert(queue, tick);
                    self.slot.count_demand_tick(process::timestamp());
                    self.shared.wake_waiters(self.database, Some(queue));
                }
            }
            Err(failure) => {
                self.slot.mark_dirty(queue);
                self.gates.shut(queue, self.now(), micros(FAILED_PAUSE));
                let name = name.unwrap_or_else(|| self.find_name(queue));
                self.note_failure("tick", &name, &failure);
            }
        }
    }

    fn find_name(&self, queue: i32) -> String {
        let rows = self.in_transaction(None, || {
            session::query(
                "select queue_name from pgq.queue where queue_id operator(pg_catalog.=) $1",
                &[Value::Int4(queue)],
            )
        });
        let name = rows.unwrap_or_default().into_iter().flatten().flatten().next();
        name.unwrap_or_else(|| format!("queue {queue}"))
    }

    /// Look at all queues by their limits on count, lag and idle time.
    ///
    /// One query finds those that may be due, however many are idle. Each then gets its tick in a
    /// transaction of its own, so that one that cannot be ticked does not stop the others.
    /// (`pgq.ticker()` does the same in one transaction, for other callers.)
    pub(super) fn tick_by_rule(&mut self) {
        activity::busy("look for ticks that are due");
        let due = self.in_transaction(None, || session::query(DUE, &[]));
        // One of the queues may be broken so badly that not even the query works: ask them one by
        // one.
        let names = match due.or_else(|_| self.in_transaction(None, || session::query(ALL, &[]))) {
            Ok(names) => names,
            Err(failure) => return self.note_failure("tick", "all queues", &failure),
        };
        problems::resolve(&self.shared, self.database, "tick", "all queues");
        for name in names.into_iter().flatten().flatten() {
            activity::busy(&format!("tick {name}"));
            let result = self.attempt("tick", &name, None, || {
                session::query("select pgq.ticker($1)", &[Value::Text(&name)])
            });
            if matches!(result, Ok(rows) if number(&rows).is_some()) {
                self.rule_ticked(1);
            }
        }
        self.look_for_foreign_ticks();
    }

    fn rule_ticked(&self, ticks: i64) {
        if ticks > 0 {
            self.count_ticks(ticks);
            self.shared.wake_waiters(self.database, None);
        }
    }

    /// Wake consumers whose queue got a tick from somebody else: pgqd, a manual call, a cascade's
    /// provider.
    fn look_for_foreign_ticks(&mut self) {
        let waited = self.shared.waited_queues(self.database);
        self.newest.retain(|queue, _| waited.contains(queue));
        self.names.retain(|queue, _| waited.contains(queue));
        for queue in waited {
            let newest = self.in_transaction(None, || {
                session::query(
                    "select tick_id from pgq.tick where tick_queue operator(pg_catalog.=) $1 \
                     order by tick_queue desc, tick_id desc limit 1",
                    &[Value::Int4(queue)],
                )
            });
            let Some(newest) = newest.ok().as_deref().and_then(number) else { continue };
            if self.newest.insert(queue, newest) != Some(newest) {
                self.shared.wake_waiters(self.database, Some(queue));
            }
        }
    }

    fn count_ticks(&self, ticks: i64) {
        self.slot.ticks.fetch_add(ticks, Ordering::SeqCst);
        self.slot.last_tick.store(process::timestamp(), Ordering::SeqCst);
    }
}
