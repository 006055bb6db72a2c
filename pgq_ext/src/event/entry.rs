//! The functions as SQL calls them: arguments in, result out.

use super::insert;
use crate::error::PgqError;
use crate::event_table::NewEvent;
use pgq_pg::call::{Call, Returned};
use pgq_pg::sequence;
use pgq_pg::text::Text;

pub(super) fn queue_name(call: &Call) -> Result<Text, PgqError> {
    call.text(0).ok_or(PgqError::NullArgument("Queue name"))
}

/// `pgq.insert_event(queue_name, ev_type, ev_data [, ev_extra1, ev_extra2, ev_extra3, ev_extra4])`.
pub(crate) fn insert_event(call: &Call) -> Result<Returned, PgqError> {
    let event = NewEvent {
        event_type: call.text(1),
        data: call.text(2),
        extra: [3, 4, 5, 6].map(|i| call.text(i)),
        ..NewEvent::default()
    };
    insert::insert_event(queue_name(call)?, &event).map(Returned::Int8)
}

/// `pgq.insert_event_raw(queue_name, ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data,
/// ev_extra1..4)`.
pub(crate) fn insert_event_raw(call: &Call) -> Result<Returned, PgqError> {
    let event = NewEvent {
        id: call.int8(1),
        time: call.int8(2),
        owner: call.int4(3),
        retry: call.int4(4),
        event_type: call.text(5),
        data: call.text(6),
        extra: [7, 8, 9, 10].map(|i| call.text(i)),
    };
    insert::insert_event(queue_name(call)?, &event).map(Returned::Int8)
}

/// `pgq.insert_events(queue, ev_type[], ev_data[] [, ev_extra1[], ev_extra2[], ev_extra3[],
/// ev_extra4[]])`.
pub(crate) fn insert_events(call: &Call) -> Result<Returned, PgqError> {
    const NAMES: [&str; 6] =
        ["ev_type", "ev_data", "ev_extra1", "ev_extra2", "ev_extra3", "ev_extra4"];
    let queue = queue_name(call)?;
    let mut columns: [Option<Vec<Option<Text>>>; 6] = Default::default();
    for (i, name) in NAMES.into_iter().enumerate() {
        columns[i] = match call.text_array(i + 1) {
            Some(Ok(elements)) => Some(elements),
            Some(Err(_)) => return Err(PgqError::ArrayDimensions(name)),
            None if i < 2 => return Err(PgqError::NullArgument(name)),
            None => None,
        };
    }
    let want = columns[0].as_ref().map_or(0, Vec::len);
    for (column, name) in columns.iter().zip(NAMES) {
        let got = column.as_ref().map_or(want, Vec::len);
        if got != want {
            return Err(PgqError::ArrayLength { name, got, other: NAMES[0], want });
        }
    }
    let value = |column: usize, i: usize| columns[column].as_ref().and_then(|elements| elements[i]);
    let mut events = (0..want).map(|i| NewEvent {
        event_type: value(0, i),
        data: value(1, i),
        extra: [value(2, i), value(3, i), value(4, i), value(5, i)],
        ..NewEvent::default()
    });
    insert::insert_events(queue, want, &mut events, &mut |_| {}).map(Returned::Int8)
}

/// `pgq.current_event_table(queue_name)`.
pub(crate) fn current_event_table(call: &Call) -> Result<Returned, PgqError> {
    insert::current_event_table(call.text(0)).map(Returned::Text)
}

/// `pgq._last_value(sequence)`: how far ids are given out, for the ticker.
pub(crate) fn last_value(call: &Call) -> Result<Returned, PgqError> {
    Ok(call.oid(0).and_then(sequence::last_value).map_or(Returned::Null, Returned::Int8))
}
