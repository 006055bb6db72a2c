//! An event as one line of JSON, and from a row of an event table.

use pgq_client::{Error, Event};
use postgres::Row;
use serde::Serialize;

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
