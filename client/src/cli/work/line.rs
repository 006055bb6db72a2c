//! An event as one line of JSON, and from a row of an event table.

use pgq_client::{Error, Event};
use postgres::Row;
use serde::Serialize;
use serde_json::Value;

use crate::cli::output::visible_json;

/// An event with PgQ's column names.
#[derive(Serialize)]
struct Line<'e> {
    ev_id: i64,
    ev_time: String,
    ev_txid: i64,
    ev_retry: Option<i32>,
    ev_type: Option<&'e str>,
    ev_data: Option<&'e str>,
    ev_extra1: Option<&'e str>,
    ev_extra2: Option<&'e str>,
    ev_extra3: Option<&'e str>,
    ev_extra4: Option<&'e str>,
}

/// An event as one line of JSON.
pub(in crate::cli) fn json_of(event: &Event) -> String {
    let line = Line {
        ev_id: event.id,
        ev_time: humantime::format_rfc3339_micros(event.time).to_string(),
        ev_txid: event.txid,
        ev_retry: event.retry,
        ev_type: event.ev_type.as_deref(),
        ev_data: event.data.as_deref(),
        ev_extra1: event.extra1.as_deref(),
        ev_extra2: event.extra2.as_deref(),
        ev_extra3: event.extra3.as_deref(),
        ev_extra4: event.extra4.as_deref(),
    };
    let text = serde_json::to_string(&line).expect("numbers, strings and nulls have a JSON form");
    visible_json(text)
}

/// An event as `pgq.receive` gives it.
#[derive(Serialize)]
struct Message<'e> {
    msg_id: i64,
    r#type: Option<&'e str>,
    payload: Option<&'e str>,
    key: Option<&'e str>,
    headers: Option<Value>,
    retry_count: u32,
    created_at: String,
    extra3: Option<&'e str>,
    extra4: Option<&'e str>,
}

/// An event as one line of JSON, in the queue API's words. Headers that are no JSON are a string,
/// as in SQL.
fn message_of(event: &Event) -> String {
    let headers = event.extra2.as_deref();
    let message = Message {
        msg_id: event.id,
        r#type: event.ev_type.as_deref(),
        payload: event.data.as_deref(),
        key: event.key(),
        headers: headers
            .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))),
        retry_count: event.attempt() - 1,
        created_at: humantime::format_rfc3339_micros(event.time).to_string(),
        extra3: event.extra3.as_deref(),
        extra4: event.extra4.as_deref(),
    };
    let text =
        serde_json::to_string(&message).expect("numbers, strings and nulls have a JSON form");
    visible_json(text)
}

/// How events are written for whoever reads them.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) enum Form {
    /// PgQ's.
    Events,
    /// The queue API's.
    Messages,
}

impl Form {
    pub(in crate::cli) fn line(self, event: &Event) -> String {
        match self {
            Self::Events => json_of(event),
            Self::Messages => message_of(event),
        }
    }
}

/// An event from a row of an event table.
pub(in crate::cli) fn event_of(row: &Row) -> Result<Event, Error> {
    Ok(Event {
        id: row.try_get("ev_id")?,
        time: row.try_get("ev_time")?,
        txid: row.try_get("ev_txid")?,
        retry: row.try_get("ev_retry")?,
        ev_type: row.try_get("ev_type")?,
        data: row.try_get("ev_data")?,
        extra1: row.try_get("ev_extra1")?,
        extra2: row.try_get("ev_extra2")?,
        extra3: row.try_get("ev_extra3")?,
        extra4: row.try_get("ev_extra4")?,
    })
}
