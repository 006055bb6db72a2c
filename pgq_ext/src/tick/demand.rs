//! `pgq._tick_on_demand`: the worker's tick for a queue that somebody waits for.

use pgrx::pg_sys;

use super::lay::{Outcome, lay_if_due};
use crate::error::PgqError;
use crate::lock;
use pgq_pg::call::{Call, Returned};
use pgq_pg::sql::{Query, Under};
use pgq_pg::value::Value;

thread_local! {
    static FIND: Query = const {
        Query::new(
            "select q.queue_id
                  , q.queue_external_ticker or q.queue_ticker_paused
               from pgq.queue q
              where q.queue_name operator(pg_catalog.=) $1",
            &[pg_sys::TEXTOID],
        )
    };
    static TICK: Query =
        const { Query::new("select pgq._tick($1, true)", &[pg_sys::INT4OID]) };
}

/// `pgq._tick_on_demand(i_queue_name)`.
pub(crate) fn tick_on_demand(call: &Call) -> Result<Returned, PgqError> {
    let no_queue = |queue| Err(PgqError::NoQueueToTick { queue });
    let Some(name) = call.text(0) else { return no_queue("NULL".to_owned()) };
    let read = |row: pgq_pg::sql::Record<'_>| {
        let id: i32 = row.get(1).expect("the primary key is not null");
        (id, row.get(2).unwrap_or(false))
    };
    let queue = FIND.with(|query| query.first(&[Value::Text(name)], Under::Own, read))?;
    let Some((queue, is_off)) = queue else {
        return no_queue(name.to_display());
    };
    if is_off {
        return Ok(Returned::Null);
    }
    lock::ticks(queue);
    let tick = match lay_if_due(queue, 0, |_| ())? {
        Outcome::Laid(tick) => Some(tick),
        Outcome::Nothing | Outcome::TooSoon(_) => None,
        Outcome::Unusual => TICK
            .with(|query| query.first(&[Value::Int4(queue)], Under::Own, |row| row.get(1)))?
            .flatten(),
    };
    Ok(tick.map_or(Returned::Null, Returned::Int8))
}
