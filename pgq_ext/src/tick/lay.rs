//! Deciding whether a queue gets a tick, and laying it.
//!
//! This is `pgq._tick(queue, true)` for the case that nearly always is: one tick, in a queue in
//! order. Its statements are few and their plans are kept; the events are looked for in the event
//! tables' indexes. What is unusual is left to SQL, which knows all cases.

use std::ops::ControlFlow;

use pgq_core::snapshot::Snapshot;
use pgq_core::window::Window;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys;

use crate::error::PgqError;
use crate::event_table::{self, TXID};
use crate::own_relation;
use pgq_pg::index_scan::{IndexedTable, ScannedRow};
use pgq_pg::snapshot::StatementSnapshot;
use pgq_pg::sql::{Query, Record, Under, connected};
use pgq_pg::value::Value;
use pgq_pg::{guc, sequence, xact};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A tick of this id.
    Laid(i64),
    /// No committed event waits for one, or ticks of this queue come from elsewhere.
    Nothing,
    /// The newest tick is too young; in so many microseconds it is not.
    TooSoon(i64),
    /// `pgq._tick` has to look.
    Unusual,
}

thread_local! {
    static QUEUE: Query =
        const { Query::new(include_str!("queue.sql"), &[pg_sys::INT4OID]) };
    static NEWEST: Query =
        const { Query::new(include_str!("newest.sql"), &[pg_sys::INT4OID]) };
    static LAY: Query = const {
        Query::new(
            include_str!("lay.sql"),
            &[pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::TEXTOID, pg_sys::INT8OID],
        )
    };
}

/// Why a value of the row is there.
const NOT_NULL: &str = "the table declares the column not null";

struct Queue {
    is_off: bool,
    event_sequence: String,
    tick_sequence: String,
    prefix: String,
    current_table: i32,
    tables: i32,
    step1: i64,
    step2: Option<i64>,
    batch_max_count: i32,
}

impl Queue {
    fn find(id: i32) -> Result<Option<Self>, PgqError> {
        let read = |row: Record<'_>| Self {
            is_off: row.get(1).expect(NOT_NULL),
            event_sequence: row.get(2).expect(NOT_NULL),
            tick_sequence: row.get(3).expect(NOT_NULL),
            prefix: row.get(4).expect(NOT_NULL),
            current_table: row.get(5).expect(NOT_NULL),
            tables: row.get(6).expect(NOT_NULL),
            step1: row.get(7).expect(NOT_NULL),
            step2: row.get(8),
            batch_max_count: row.get(9).expect(NOT_NULL),
        };
        Ok(QUEUE.with(|query| query.first(&[Value::Int4(id)], Under::Own, read))?)
    }

    /// The event tables that an event after this snapshot can be in; None when one of them is not
    /// as `pgq.create_queue` made it.
    fn tables(&self, previous: &Snapshot) -> Option<Vec<IndexedTable>> {
        let open = |number| event_table::open(&format!("{}_{number}", self.prefix));
        let current = open(self.current_table)?;
        let has_rotated = self.step2.is_some_and(|step2| previous.xmin() > step2);
        if self.tables <= 1 || has_rotated {
            return Some(vec![current]);
        }
        Some(vec![current, open((self.current_table + self.tables - 1) % self.tables)?])
    }
}

struct Newest {
    snapshot: Option<Snapshot>,
    event_seq: i64,
    /// The present one, which sees that tick.
    now: Option<Snapshot>,
    is_foreign: bool,
    /// `tick_time`.
    time: i64,
}

impl Newest {
    fn find(queue: i32) -> Result<Option<Self>, PgqError> {
        let read = |row: Record<'_>| {
            let snapshot = |column| row.get::<String>(column)?.parse().ok();
            Self {
                snapshot: snapshot(1),
                event_seq: row.get(2).expect(NOT_NULL),
                now: snapshot(3),
                is_foreign: row.get(4).unwrap_or(true),
                time: row.get(5).map_or(i64::MIN, TimestampWithTimeZone::into_inner),
            }
        };
        Ok(NEWEST.with(|query| query.first(&[Value::Int4(queue)], Under::Own, read))?)
    }
}

/// Lay a tick if a committed event waits for one. The transaction has the queue's ticker lock, and
/// took it before this call. There is none while the newest one is younger than `least_age`
/// (microseconds). `see` gets an event that waits, and not every one.
pub(crate) fn lay_if_due(
    queue_id: i32,
    least_age: i64,
    see: impl FnMut(&ScannedRow),
) -> Result<Outcome, PgqError> {
    // There the snapshot is older than the lock.
    if xact::has_fixed_snapshot() {
        return Ok(Outcome::Unusual);
    }
    let Some(queue) = Queue::find(queue_id)?.filter(|queue| !queue.is_off) else {
        return Ok(Outcome::Nothing);
    };
    // The sequence before the snapshot: events that it counts and the snapshot does not see are
    // counted in vain, not missed.
    let sequence = |name: &str| own_relation::own_sequence(queue_id, name);
    let (Some(events), Some(ticks)) =
        (sequence(&queue.event_sequence)?, sequence(&queue.tick_sequence)?)
    else {
        return Ok(Outcome::Unusual);
    };
    let event_seq = sequence::last_value(events).unwrap_or(1);
    let Some(newest) = Newest::find(queue_id)? else { return Ok(Outcome::Unusual) };
    let (Some(previous), Some(now)) = (newest.snapshot, newest.now) else {
        return Ok(Outcome::Unusual);
    };
    if newest.is_foreign || queue.step1 > now.xmax() || event_seq < newest.event_seq {
        return Ok(Outcome::Unusual);
    }
    // A tick of a time to come does not count: the clock was set back.
    let age = xact::now().saturating_sub(newest.time);
    if (0..least_age).contains(&age) {
        return Ok(Outcome::TooSoon(least_age - age));
    }
    let Some(tables) = queue.tables(&previous) else { return Ok(Outcome::Unusual) };
    // Where the newest tick saw all transactions before it end, ids above its own tell how many
    // events there can be. Else they are counted.
    let most = i64::from(queue.batch_max_count.max(1));
    let possible = event_seq.saturating_sub(newest.event_seq).saturating_add(1);
    let enough = if previous.in_progress().is_empty() && possible <= most { 1 } else { most + 1 };
    let text = now.to_string();
    match count(&tables, &Window::new(previous, now), enough, see) {
        0 => return Ok(Outcome::Nothing),
        waiting if waiting > most => return Ok(Outcome::Unusual),
        _ => {}
    }
    drop(tables);
    let id = sequence::nextval(ticks);
    // A tick that a crash takes back would be given out again with another content, and a consumer
    // elsewhere may have noted its number.
    if guc::commits_are_asynchronous() {
        guc::set_for_transaction(c"synchronous_commit", c"local");
    }
    add(queue_id, id, &text, event_seq)?;
    Ok(Outcome::Laid(id))
}

/// How many events the window has, at most `enough`.
fn count(
    tables: &[IndexedTable],
    window: &Window,
    enough: i64,
    mut see: impl FnMut(&ScannedRow),
) -> i64 {
    let _snapshot = StatementSnapshot::take();
    let mut found = 0;
    let mut visit = |row: &ScannedRow| {
        if row.int8(TXID).is_some_and(|xid| window.contains(xid)) {
            found += 1;
            see(row);
        }
        if found < enough { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let is_enough = |flow: ControlFlow<()>| flow.is_break();
    for table in tables {
        if is_enough(table.scan_range(window.low, window.high, &mut visit)) {
            break;
        }
        if window.old.iter().any(|&xid| is_enough(table.scan_range(xid, xid, &mut visit))) {
            break;
        }
    }
    found
}

fn add(queue: i32, id: i64, snapshot: &str, event_seq: i64) -> Result<(), PgqError> {
    let arguments = [
        Value::Int4(queue),
        Value::Int8(id),
        Value::Text(pgq_pg::text::Text::of_string(snapshot)),
        Value::Int8(event_seq),
    ];
    connected(|connection| {
        LAY.with(|query| query.plan(connection))?.run(connection, &arguments, Under::Own)?;
        Ok(())
    })
}
