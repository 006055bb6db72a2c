//! Events into a queue of another database.

use std::time::SystemTime;

use pgq_client::{Error, Event, HandlerError, RemoteBatch};
use postgres::Transaction;
use postgres::types::Type;

/// Copy one batch into a queue of the target.
pub(in crate::cli) fn copy(
    batch: &mut RemoteBatch<'_, '_, '_>,
    queue: &str,
) -> Result<(), HandlerError> {
    let keeps_time = may_keep_time(batch.target())?;
    while let Some(page) = batch.next_page()? {
        insert(batch.target(), queue, &page, keeps_time)?;
    }
    Ok(())
}

/// Inserting with a given time takes pgq_admin; others give events the time of their arrival.
pub(super) fn may_keep_time(target: &mut Transaction<'_>) -> Result<bool, Error> {
    let row = target.query_typed_one(
        "select coalesce(
                    pg_catalog.bool_or(pg_catalog.has_function_privilege(p.oid, 'execute')), false)
           from pg_catalog.pg_proc p
          where p.pronamespace operator(pg_catalog.=)
                    pg_catalog.to_regnamespace('pgq')::pg_catalog.oid
            and p.proname operator(pg_catalog.=) 'insert_event_raw'",
        &[],
    )?;
    Ok(row.try_get(0)?)
}

/// Insert copies of events, in their order.
pub(super) fn insert(
    target: &mut Transaction<'_>,
    queue: &str,
    events: &[Event],
    keeps_time: bool,
) -> Result<(), Error> {
    if !keeps_time {
        let events: Vec<_> = events.iter().cloned().map(Into::into).collect();
        pgq_client::Producer::new(queue).insert_events(target, &events)?;
        return Ok(());
    }
    let times: Vec<SystemTime> = events.iter().map(|event| event.time).collect();
    let column = |field: fn(&Event) -> &Option<String>| -> Vec<Option<&str>> {
        events.iter().map(|event| field(event).as_deref()).collect()
    };
    target.execute_typed(
        "select pg_catalog.count(
                    pgq.insert_event_raw($1, null, at, null, null, t, d, e1, e2, e3, e4))
           from rows from (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
                           pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),
                           pg_catalog.unnest($8))
                as e (at, t, d, e1, e2, e3, e4)",
        &[
            (&queue, Type::TEXT),
            (&times, Type::TIMESTAMPTZ_ARRAY),
            (&column(|event| &event.ev_type), Type::TEXT_ARRAY),
            (&column(|event| &event.data), Type::TEXT_ARRAY),
            (&column(|event| &event.extra1), Type::TEXT_ARRAY),
            (&column(|event| &event.extra2), Type::TEXT_ARRAY),
            (&column(|event| &event.extra3), Type::TEXT_ARRAY),
            (&column(|event| &event.extra4), Type::TEXT_ARRAY),
        ],
    )?;
    Ok(())
}
