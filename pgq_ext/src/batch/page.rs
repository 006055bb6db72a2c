//! Parts of a batch, for consumers that take a batch in pages: where a page ends, and its events.

use super::listed::{self, Found, Reader};
use super::span::{Span, TickPair};
use crate::error::PgqError;
use crate::event_table::DELIVERED;
use pgq_core::key_slot::{KeySlot, spread};
use pgq_core::listing::{PageEnd, Part};
use pgq_pg::call::{Call, Returned};
use pgq_pg::row_store::RowStore;
use pgq_pg::snapshot::StatementSnapshot;
use pgq_pg::sql::{self, Under};
use pgq_pg::value::Value;

/// `pgq._page_end(i_queue_id, i_sub_id, i_prev_tick, i_cur_tick, i_after, i_most, i_slots,
/// i_slot)`.
pub(crate) fn page_end(call: &Call) -> Result<Returned, PgqError> {
    let (reader, slot) = reader(call)?;
    let mut after = call.int8(4);
    let most = call.int4(5).and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let mut rows = RowStore::begin(call);
    // The tick may be younger than the statement's snapshot.
    let _snapshot = StatementSnapshot::take();
    let end = loop {
        let part = match listed::find(reader, after)? {
            Found::Places(_, listed) => {
                let part = match slot {
                    None => listed.listing.page(after, most).map_or(Part::Nothing, Part::Page),
                    Some(slot) => listed.listing.page_of(after, most, |spot| slot.has(spot.spread)),
                };
                listed::keep(listed);
                part
            }
            Found::Query(span) => asked_end(&span, reader, slot, after, most)?,
        };
        match part {
            Part::Page(end) => break Some(end),
            Part::Nothing => break None,
            Part::Behind(id) => after = Some(id),
        }
    };
    if let Some(PageEnd { last, is_batch_end }) = end {
        let values = [("last_id", Value::Int8(last)), ("is_batch_end", Value::Bool(is_batch_end))];
        rows.put(&values).expect("the declaration has these columns");
    }
    rows.finish();
    Ok(Returned::Done)
}

/// `pgq._page_events(i_queue_id, i_sub_id, i_prev_tick, i_cur_tick, i_after, i_last, i_slots,
/// i_slot)`.
pub(crate) fn page_events(call: &Call) -> Result<Returned, PgqError> {
    let (reader, slot) = reader(call)?;
    let after = call.int8(4);
    let last = call.int8(5).ok_or(PgqError::NullArgument("last event"))?;
    let mut rows = RowStore::begin(call);
    let _snapshot = StatementSnapshot::take();
    loop {
        let (tables, listed) = match listed::find(reader, after)? {
            Found::Places(tables, listed) => (tables, listed),
            Found::Query(span) => {
                let filter = format!(
                    "{} and e.ev_id operator(pg_catalog.<=) '{last}'::pg_catalog.int8",
                    wanted(slot, after)
                );
                let sql = query(&span, reader, &filter)?;
                rows.fill_from_query::<{ DELIVERED.len() }>(&format!("{sql} order by 1"))?;
                break;
            }
        };
        let mut is_as_listed = true;
        for &(id, spot) in listed.listing.between(after, last) {
            if slot.is_some_and(|slot| !slot.has(spot.spread)) {
                continue;
            }
            let found = tables[usize::from(spot.table)].at(spot.place, |row| {
                let is_same = listed.is_same(row, id);
                if is_same {
                    rows.push(row, &DELIVERED);
                }
                is_same
            });
            if found != Some(true) {
                is_as_listed = false;
                break;
            }
            pgrx::check_for_interrupts!();
        }
        if is_as_listed {
            listed::keep(listed);
            break;
        }
        // Rows have been moved since. What is read now is read under this very snapshot.
        rows.clear();
    }
    rows.finish();
    Ok(Returned::Done)
}

/// What is to be read, and, where several slots share it, by which.
fn reader(call: &Call) -> Result<(Reader, Option<KeySlot>), PgqError> {
    let (Some(queue), Some(subscription), Some(previous), Some(current)) =
        (call.int4(0), call.int4(1), call.int8(2), call.int8(3))
    else {
        return Err(PgqError::NullArgument("queue, subscription and ticks"));
    };
    let slot = match (call.int4(6), call.int4(7)) {
        (Some(count), Some(number)) => {
            KeySlot::new(count, number).ok_or(PgqError::NoSuchSlot { count, number })?
        }
        _ => return Err(PgqError::NullArgument("slots")),
    };
    let slot = (!slot.is_whole()).then_some(slot);
    let ticks = TickPair { queue, previous, current };
    Ok((Reader { ticks, subscription, has_slots: slot.is_some() }, slot))
}

/// `pgq._key_slot(i_msg_id, i_key, i_slots)`.
pub(crate) fn key_slot(call: &Call) -> Result<Returned, PgqError> {
    let (Some(id), Some(count)) = (call.int8(0), call.int4(2)) else { return Ok(Returned::Null) };
    let spread = match call.text(1) {
        Some(key) => key.with_bytes(|bytes| spread(id, Some(bytes))),
        None => spread(id, None),
    };
    let number = KeySlot::of(count, spread).ok_or(PgqError::NoSuchSlot { count, number: 0 })?;
    Ok(Returned::Int4(number.number().cast_signed()))
}

/// SQL condition on the event `e`.
fn wanted(slot: Option<KeySlot>, after: Option<i64>) -> String {
    let mut condition = after.map_or_else(
        || "true".to_owned(),
        |after| format!("e.ev_id operator(pg_catalog.>) '{after}'::pg_catalog.int8"),
    );
    if let Some(slot) = slot {
        let (count, number) = (slot.count(), slot.number());
        condition += &format!(
            " and pgq._key_slot(e.ev_id, e.ev_extra1, {count}) operator(pg_catalog.=) {number}"
        );
    }
    condition
}

fn query(span: &Span, reader: Reader, filter: &str) -> Result<String, PgqError> {
    let TickPair { previous, current, .. } = reader.ticks;
    span.sql(reader.subscription, Some(filter)).ok_or(PgqError::NoTicks { previous, current })
}

/// The same as a listing's page, by the planner.
fn asked_end(
    span: &Span,
    reader: Reader,
    slot: Option<KeySlot>,
    after: Option<i64>,
    most: usize,
) -> Result<Part, PgqError> {
    let events = query(span, reader, &wanted(slot, after))?;
    let sql = format!(
        "select p.last_id, p.last_id operator(pg_catalog.=) p.end_id
           from (select pg_catalog.max(e.ev_id)
                            filter (where e.place operator(pg_catalog.<=) {most}),
                        pg_catalog.max(e.ev_id)
                   from (select b.ev_id, pg_catalog.row_number() over (order by b.ev_id)
                           from ({events}) b) e (ev_id, place)) p (last_id, end_id)
          where p.last_id is not null"
    );
    let end = sql::connected(|connection| {
        let statement = connection.prepare(sql.as_bytes(), &[])?;
        let answer = statement.run(connection, &[], Under::Own)?;
        let mut records = answer.records();
        Ok::<_, PgqError>(records.next().map(|record| PageEnd {
            last: record.get(1).expect("filtered by the statement"),
            is_batch_end: record.get(2).expect("neither side is null"),
        }))
    })?;
    Ok(end.map_or(Part::Nothing, Part::Page))
}
