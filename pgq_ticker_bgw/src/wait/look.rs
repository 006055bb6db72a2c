//! Looks for the next batch, and the transactions that they are done in.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::lead;
use pgq_pg::procedure::{Caller, outside_transaction};
use pgq_pg::session::{self, Row, Value};
use pgq_pg::{process, subtransaction, watch, xact};

/// After a tick that failed, the worker lays it for so long.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// What a look has found.
pub(super) enum Look {
    /// A batch, now open. One without events is passed over where it is to be.
    Batch(i64),
    /// A batch without events, finished.
    Empty,
    /// Nothing new.
    Nothing,
    /// Events that can have their tick after this time.
    Later(Duration),
    /// Events that the worker has to tick, unless this session may in another transaction.
    Worker,
    /// None now, and the worker has to tick what there is.
    Asked,
}

/// The session's transactions while it waits.
pub(super) struct Session {
    caller: Caller,
    /// Ticks may be laid on the way.
    leads: bool,
    /// The transaction began here.
    is_own: bool,
    /// Not before.
    lead_after: Option<Instant>,
}

impl Session {
    pub(super) fn new(caller: Caller, leads: bool) -> Self {
        // A pipeline's statements share a transaction, and so do a procedure's.
        let is_own = caller == Caller::Client && xact::is_as_young_as_statement();
        Self { caller, leads, is_own, lead_after: None }
    }

    /// Somebody may wake this session to lay a tick.
    pub(super) fn can_lead(&self) -> bool {
        self.leads
            && lead::is_able()
            && self.lead_after.is_none_or(|time| Instant::now() >= time)
            && has_take_batch()
    }

    /// A tick could be laid, but not in this transaction: it has done something else.
    pub(super) fn is_older(&self) -> bool {
        !self.is_fresh() && self.can_lead()
    }

    fn is_fresh(&self) -> bool {
        self.is_own && !xact::has_xid()
    }

    /// End the transaction, do something, and begin another one.
    pub(super) fn pause(&mut self, body: impl FnOnce()) {
        outside_transaction(self.caller, body);
        self.is_own = true;
        // In a transaction again, where an error has its place.
        process::check_interrupts_in_query();
    }

    /// Look for the consumer's next batch, and open it; with `skip_empty`, finish one that has no
    /// events. Before it waits for somebody it calls `before_waiting`.
    pub(super) fn look(
        &mut self,
        queue: &str,
        consumer: &str,
        skip_empty: bool,
        before_waiting: impl Fn(),
    ) -> Look {
        let ask = || {
            before_waiting();
            ask(queue, consumer).map_or(Look::Asked, |id| of_batch(id, skip_empty, None))
        };
        if !has_take_batch() {
            return ask();
        }
        let may_lead = self.is_fresh() && self.can_lead();
        let taken = match may_lead {
            true => self.lead(queue, consumer),
            false => Some(take(queue, consumer)),
        };
        let Some(row) = taken else { return Look::Worker };
        let mut columns = row.into_iter();
        let mut next = || columns.next().flatten();
        let (verdict, id, has_events, pause) = (next(), next(), next(), next());
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let opened = match (verdict.as_deref(), number(id)) {
            // In this transaction, which has the subscription's row: afterwards another session of
            // this consumer may finish the batch.
            (Some("batch"), Some(id)) => {
                Some(of_batch(id, skip_empty, has_events.map(|has| has == "t")))
            }
            _ => None,
        };
        // What was laid is for all: it does not wait for what the caller does next. Nor does the
        // ticker lock.
        if lead::has_begun() {
            self.pause(|| ());
        }
        if let Some(look) = opened {
            return look;
        }
        match (verdict.as_deref(), pause) {
            (Some("nothing"), _) => Look::Nothing,
            (Some("worker"), _) => Look::Worker,
            (Some("later"), pause) => {
                let pause = pause.and_then(|pause| pause.parse().ok());
                Look::Later(Duration::from_micros(pause.unwrap_or(0)))
            }
            _ => ask(),
        }
    }

    /// Look, and lay the tick that it takes. None: that failed; it is the worker's to say why.
    fn lead(&mut self, queue: &str, consumer: &str) -> Option<Row> {
        let taken = subtransaction::attempt(|| lead::permitted(|| take(queue, consumer)));
        match taken {
            Ok(row) => Some(row),
            Err(failure) if failure.is_asked() || !lead::give_up() => failure.raise(),
            Err(_) => {
                self.lead_after = Instant::now().checked_add(FAILED_PAUSE);
                None
            }
        }
    }
}

fn take(queue: &str, consumer: &str) -> Row {
    let sql = "select verdict, batch_id, has_events, pause from pgq._take_batch($1, $2)";
    let rows = session::query(sql, &[Value::Text(queue), Value::Text(consumer)]);
    rows.into_iter().next().unwrap_or_default()
}

/// The next batch as everybody gets it.
fn ask(queue: &str, consumer: &str) -> Option<i64> {
    let sql = "select pgq.next_batch($1, $2)";
    let rows = session::query(sql, &[Value::Text(queue), Value::Text(consumer)]);
    rows.into_iter().flatten().flatten().find_map(|id| id.parse().ok())
}

/// Who may not read the events cannot be told that there are none.
fn of_batch(id: i64, skip_empty: bool, has_events: Option<bool>) -> Look {
    if !skip_empty || has_events == Some(true) || has_events_of(id) {
        return Look::Batch(id);
    }
    session::query("select pgq.finish_batch($1)", &[Value::Int8(id)]);
    Look::Empty
}

fn has_events_of(batch: i64) -> bool {
    let rows = session::query("select pgq._batch_has_events($1)", &[Value::Int8(batch)]);
    rows.into_iter().flatten().flatten().any(|answer| answer == "t")
}

/// True unless the schema is of an older release, or this role may call the functions of old only.
fn has_take_batch() -> bool {
    thread_local! {
        static KNOWN: Cell<Option<(u64, u32, bool)>> = const { Cell::new(None) };
    }
    let (number, user) = (watch::of_functions(), process::my_user());
    if let Some((of, by, known)) = KNOWN.get()
        && (of, by) == (number, user)
    {
        return known;
    }
    let sql = "select coalesce(pg_catalog.has_function_privilege(
                   pg_catalog.to_regprocedure(
                       'pgq._take_batch(pg_catalog.text, pg_catalog.text)')::pg_catalog.oid,
                   'execute'), false)";
    let has = session::query(sql, &[]).into_iter().flatten().flatten().any(|has| has == "t");
    KNOWN.set(Some((number, user, has)));
    has
}
