//! `pgq._take_batch`: the next batch of a consumer that waits for it, by a few statements with kept
//! plans; and the tick that it waits for, where the consumer may lay it.
//!
//! What it does is what `pgq.next_batch` does. Whatever is not as it nearly always is, it leaves to
//! that: a batch that is open already, a subscription that somebody else has locked, a tick that is
//! gone or of another cluster.
//!
//! Both commits on an event's way are durable, the producer's and this one. The tick has to be:
//! after a crash its number would be given to another one, and a consumer elsewhere may have noted
//! it. The batch has to be as well: consumers that apply a batch in another database note its id
//! there, and take one of the same id for done. One that a crash took back would come again under
//! another id, and be applied twice; or its id would be given to another consumer's batch.

use pgrx::pg_sys;

use super::events::is_for;
use super::span::{Span, TickPair};
use super::waiting::has_event;
use crate::error::PgqError;
use crate::tick::lay::{Outcome, lay_if_due};
use crate::{event_table, lock};
use pgq_pg::call::{Call, Returned};
use pgq_pg::row_store::RowStore;
use pgq_pg::snapshot::StatementSnapshot;
use pgq_pg::sql::{Query, Record, Under};
use pgq_pg::text::Text;
use pgq_pg::value::Value;
use pgq_ticker_bgw::lead;

/// What was found.
enum Found {
    /// A batch was opened; whether it has events for the consumer, if that is known.
    Batch { id: i64, has_events: Option<bool> },
    /// None, and nobody has to do anything about it.
    Nothing,
    /// Events wait for a tick, which may be laid in so many microseconds.
    Later(i64),
    /// Events wait for a tick that the worker has to lay.
    Worker,
    /// `pgq.next_batch` has to look.
    Unusual,
}

struct Opened {
    id: i64,
    ticks: TickPair,
    subscription: i32,
}

/// A subscription without a batch.
struct Stand {
    queue: i32,
    subscription: i32,
    /// It is at the newest tick, which is there.
    is_at_end: bool,
    /// How many subscriptions the queue has, or one more than wait for it.
    crowd: i64,
}

thread_local! {
    static OPEN: Query = const {
        Query::new(include_str!("open.sql"), &[pg_sys::TEXTOID, pg_sys::TEXTOID])
    };
    static STAND: Query = const {
        Query::new(
            include_str!("stand.sql"),
            &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT8OID],
        )
    };
}

/// Why a value of the row is there.
const NOT_NULL: &str = "the column is not null";

/// `pgq._take_batch(i_queue_name, i_consumer_name)`.
pub(crate) fn take_batch(call: &Call) -> Result<Returned, PgqError> {
    let mut rows = RowStore::begin(call);
    let found = match (call.text(0), call.text(1)) {
        (Some(queue), Some(consumer)) => take(queue, consumer)?,
        _ => Found::Unusual,
    };
    let (verdict, batch, has_events, pause) = match found {
        Found::Nothing => ("nothing", None, None, None),
        Found::Batch { id, has_events } => ("batch", Some(id), has_events, None),
        Found::Later(pause) => ("later", None, None, Some(pause)),
        Found::Worker => ("worker", None, None, None),
        Found::Unusual => ("unusual", None, None, None),
    };
    let values = [
        ("verdict", Value::Text(Text::of_string(verdict))),
        ("batch_id", batch.into()),
        ("has_events", has_events.map_or(Value::Null, Value::Bool)),
        ("pause", pause.into()),
    ];
    rows.put(&values).expect("the declaration has these columns");
    rows.finish();
    Ok(Returned::Done)
}

fn take(queue: Text, consumer: Text) -> Result<Found, PgqError> {
    let opened = |opened: Opened| {
        let has_events = opened.has_events()?;
        Ok(Found::Batch { id: opened.id, has_events })
    };
    // Who was woken to lay a tick looks for that first.
    if !lead::is_likely()
        && let Some(batch) = open(queue, consumer)?
    {
        return opened(batch);
    }
    let waiting = lead::waiters();
    let Some(stand) = stand(queue, consumer, waiting + 1)? else { return Ok(Found::Unusual) };
    if !stand.is_at_end {
        return open(queue, consumer)?.map_or(Ok(Found::Unusual), opened);
    }
    if !lead::is_wanted(stand.queue) {
        return Ok(Found::Nothing);
    }
    if !lead::is_allowed(stand.queue) || !lock::try_ticks(stand.queue) {
        return Ok(Found::Worker);
    }
    let least_age = lead::least_age(stand.crowd <= waiting);
    lead::begin(stand.queue);
    let mut is_ours = false;
    let outcome = lay_if_due(stand.queue, least_age, |event| {
        is_ours |= is_for(event, stand.subscription);
    })?;
    Ok(match outcome {
        Outcome::Nothing => Found::Nothing,
        Outcome::TooSoon(pause) => {
            lead::put_off(stand.queue);
            Found::Later(pause)
        }
        Outcome::Unusual => {
            lead::put_off(stand.queue);
            Found::Worker
        }
        Outcome::Laid(_) => {
            lead::laid(stand.queue);
            match open(queue, consumer)? {
                Some(opened) => Found::Batch { id: opened.id, has_events: is_ours.then_some(true) },
                None => Found::Unusual,
            }
        }
    })
}

fn open(queue: Text, consumer: Text) -> Result<Option<Opened>, PgqError> {
    let read = |row: Record<'_>| Opened {
        id: row.get(1).expect(NOT_NULL),
        ticks: TickPair {
            queue: row.get(2).expect(NOT_NULL),
            previous: row.get(3).expect(NOT_NULL),
            current: row.get(4).expect(NOT_NULL),
        },
        subscription: row.get(5).expect(NOT_NULL),
    };
    let arguments = [Value::Text(queue), Value::Text(consumer)];
    Ok(OPEN.with(|query| query.first(&arguments, Under::Own, read))?)
}

fn stand(queue: Text, consumer: Text, most: i64) -> Result<Option<Stand>, PgqError> {
    let read = |row: Record<'_>| Stand {
        queue: row.get(1).expect(NOT_NULL),
        subscription: row.get(2).expect(NOT_NULL),
        is_at_end: row.get(3).unwrap_or(false),
        crowd: row.get(4).expect(NOT_NULL),
    };
    let arguments = [Value::Text(queue), Value::Text(consumer), Value::Int8(most)];
    Ok(STAND.with(|query| query.first(&arguments, Under::Own, read))?)
}

impl Opened {
    /// None where only a query could tell.
    fn has_events(&self) -> Result<Option<bool>, PgqError> {
        let Some(span) = Span::load(self.ticks)? else { return Ok(None) };
        let tables: Option<Vec<_>> =
            span.tables.iter().map(|name| event_table::open(name)).collect();
        let Some(tables) = tables else { return Ok(None) };
        let _snapshot = StatementSnapshot::take();
        let is_ours = |row: &_| is_for(row, self.subscription);
        Ok(Some(tables.iter().any(|table| has_event(table, &span.window, is_ours))))
    }
}
