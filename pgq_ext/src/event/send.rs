//! `pgq.send` and `pgq.send_batch`: events as messages of an application, with type, payload, key
//! and headers.

use super::entry::queue_name;
use super::insert;
use crate::error::PgqError;
use crate::event_table::NewEvent;
use pgq_pg::call::{Call, Returned};
use pgq_pg::sql::{Query, Under};
use pgq_pg::text::Text;
use pgq_pg::value::Value;
use pgrx::pg_sys;

thread_local! {
    static SEND_LATER: Query = const {
        Query::new(
            "select pgq._send_later($1, $2, $3, $4, $5, $6, $7, \
                 $8 operator(pg_catalog.*) '1 microsecond'::pg_catalog.interval)",
            &[
                pg_sys::TEXTOID,
                pg_sys::TEXTOID,
                pg_sys::TEXTOID,
                pg_sys::TEXTOID,
                pg_sys::TEXTOID,
                pg_sys::TIMESTAMPTZOID,
                pg_sys::TEXTOID,
                pg_sys::INT8OID,
            ],
        )
    };
}

/// The type of a message that is sent without one.
const DEFAULT_TYPE: &[u8] = b"default";

/// `pgq.send(queue_name, payload)`, with a payload of text or jsonb.
pub(crate) fn send_plain(call: &Call) -> Result<Returned, PgqError> {
    store(call, Some(Text::new(DEFAULT_TYPE)), call.text(1))
}

/// The same with jsonb.
pub(crate) fn send_plain_json(call: &Call) -> Result<Returned, PgqError> {
    store(call, Some(Text::new(DEFAULT_TYPE)), call.jsonb(1))
}

/// `pgq.send(queue_name, type_name, payload [, key, headers, deliver_at, unique_key, unique_for])`.
pub(crate) fn send(call: &Call) -> Result<Returned, PgqError> {
    store(call, call.text(1), call.text(2))
}

/// The same with a payload of jsonb.
pub(crate) fn send_json(call: &Call) -> Result<Returned, PgqError> {
    store(call, call.text(1), call.jsonb(2))
}

fn store(
    call: &Call,
    event_type: Option<Text>,
    payload: Option<Text>,
) -> Result<Returned, PgqError> {
    let queue = queue_name(call)?;
    let headers = call.jsonb(4);
    if headers.is_some_and(|headers| !is_object(headers)) {
        return Err(PgqError::Headers);
    }
    if (5..8).any(|index| call.is_given(index)) {
        return send_later(call, queue, event_type, payload, headers);
    }
    let event = NewEvent {
        event_type,
        data: payload,
        extra: [call.text(3), headers, None, None],
        ..NewEvent::default()
    };
    insert::insert_event(queue, &event).map(Returned::Int8)
}

/// A message with a time, or a key that is sent once.
fn send_later(
    call: &Call,
    queue: Text,
    event_type: Option<Text>,
    payload: Option<Text>,
    headers: Option<Text>,
) -> Result<Returned, PgqError> {
    let arguments = [
        Value::Text(queue),
        event_type.into(),
        payload.into(),
        call.text(3).into(),
        headers.into(),
        call.int8(5).map_or(Value::Null, Value::Int8),
        call.text(6).into(),
        call.interval(7).map_or(Value::Null, Value::Int8),
    ];
    let id = SEND_LATER.with(|query| {
        query.first(&arguments, Under::Own, |row| row.get(1).expect("it gives an id"))
    })?;
    Ok(Returned::Int8(id.expect("one row")))
}

/// jsonb as text begins with a brace if it is an object.
fn is_object(json: Text) -> bool {
    json.with_bytes(|bytes| bytes.first() == Some(&b'{'))
}

/// `pgq._send_batch(queue_name, type_name, payloads[], keys[], headers[])`; the headers are jsonb
/// as text.
pub(crate) fn send_batch(call: &Call) -> Result<Returned, PgqError> {
    let queue = queue_name(call)?;
    let event_type = call.text(1);
    let array = |index, name| match call.text_array(index) {
        Some(Ok(elements)) => Ok(Some(elements)),
        Some(Err(_)) => Err(PgqError::ArrayDimensions(name)),
        None => Ok(None),
    };
    let payloads = array(2, "payloads")?.ok_or(PgqError::NullArgument("payloads"))?;
    let want = payloads.len();
    let beside = |index, name| {
        let elements = array(index, name)?;
        match elements.as_ref().map(Vec::len) {
            Some(got) if got != want => {
                Err(PgqError::ArrayLength { name, got, other: "payloads", want })
            }
            _ => Ok(elements),
        }
    };
    let (keys, headers) = (beside(3, "keys")?, beside(4, "headers")?);
    if headers.iter().flatten().flatten().any(|headers| !is_object(*headers)) {
        return Err(PgqError::Headers);
    }
    let nth = |elements: &Option<Vec<Option<Text>>>, i: usize| elements.as_ref().and_then(|e| e[i]);
    let mut events = (0..want).map(|i| NewEvent {
        event_type,
        data: payloads[i],
        extra: [nth(&keys, i), nth(&headers, i), None, None],
        ..NewEvent::default()
    });
    let mut ids = Vec::with_capacity(want);
    insert::insert_events(queue, want, &mut events, &mut |id| ids.push(id))?;
    Ok(Returned::Int8Array(ids))
}
