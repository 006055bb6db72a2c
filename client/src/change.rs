//! Row changes, as PgQ's triggers write them into events: logutriga (urlencoded) and jsontriga.

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;
use crate::event::Event;

/// What happened to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// TRUNCATE; the change has no columns.
    Truncate,
}

/// A change of one row, or the truncation of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// What happened.
    pub operation: Operation,
    /// `schema.table`, from the event's first extra field.
    pub table: String,
    /// Key columns; empty for a table without a primary key.
    pub key: Vec<String>,
    /// Columns in table order, values in PostgreSQL's text form. The old row for DELETE.
    pub columns: Vec<(String, Option<String>)>,
}

#[derive(Deserialize)]
struct JsonKind {
    op: String,
    #[serde(default)]
    pkey: Vec<String>,
}

impl Event {
    /// The row change that a PgQ trigger (logutriga or jsontriga) put into this event; none for
    /// other events.
    ///
    /// # Errors
    /// [`Error::Payload`] when type and payload of a trigger event do not parse.
    pub fn change(&self) -> Result<Option<RowChange>, Error> {
        RowChange::from_event(self)
    }
}

impl RowChange {
    fn from_event(event: &Event) -> Result<Option<Self>, Error> {
        Self::decode(event).map_err(|error| match error {
            Error::Payload(what) => Error::Payload(format!("event {}: {what}", event.id)),
            other => other,
        })
    }

    fn decode(event: &Event) -> Result<Option<Self>, Error> {
        let kind = event.kind();
        let table = event.extra1.clone().unwrap_or_default();
        let data = event.data.as_deref().unwrap_or("");
        if kind.starts_with('{') {
            return Self::from_json(kind, data, table);
        }
        if kind == "R" {
            let (key, columns) = (Vec::new(), Vec::new());
            return Ok(Some(Self { operation: Operation::Truncate, table, key, columns }));
        }
        let Some((letter, key)) = kind.split_once(':') else { return Ok(None) };
        let operation = match letter {
            "I" => Operation::Insert,
            "U" => Operation::Update,
            "D" => Operation::Delete,
            _ => return Ok(None),
        };
        let key = key.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(Some(Self { operation, table, key, columns: decode_pairs(data)? }))
    }

    fn from_json(kind: &str, data: &str, table: String) -> Result<Option<Self>, Error> {
        // Other producers put JSON into the type as well; it is a trigger's only with an operation
        // in it.
        let Ok(kind) = serde_json::from_str::<JsonKind>(kind) else { return Ok(None) };
        let operation = match kind.op.as_str() {
            "INSERT" => Operation::Insert,
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            "TRUNCATE" => Operation::Truncate,
            _ => return Ok(None),
        };
        let row: serde_json::Map<String, Value> =
            serde_json::from_str(data).map_err(|error| Error::Payload(error.to_string()))?;
        let text = |value: Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        let columns: Vec<(String, Option<String>)> =
            row.into_iter().map(|(name, value)| (name, text(value))).collect();
        for (name, value) in &columns {
            refuse_nul(name)?;
            refuse_nul(value.as_deref().unwrap_or(""))?;
        }
        for name in &kind.pkey {
            refuse_nul(name)?;
        }
        Ok(Some(Self { operation, table, key: kind.pkey, columns }))
    }

    /// The value of a column; outer none when the change does not have the column.
    pub fn column(&self, name: &str) -> Option<Option<&str>> {
        self.columns.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_deref())
    }
}

/// `a=1&b&c=`: a name without `=` is NULL; `+` is a space.
fn decode_pairs(text: &str) -> Result<Vec<(String, Option<String>)>, Error> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((decode(name)?, Some(decode(value)?))),
            None => Ok((decode(pair)?, None)),
        })
        .collect()
}

fn decode(text: &str) -> Result<String, Error> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(text.to_owned());
    }
    let bad = || Error::Payload("bad urlencoding in a trigger event".to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                let byte = digits.and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.push(byte.ok_or_else(bad)?);
                rest = &after[2..];
            }
            other => bytes.push(other),
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    refuse_nul(&text)?;
    Ok(text)
}

/// No text of PostgreSQL has one, so no trigger wrote it; the driver would take it for a broken
/// connection.
fn refuse_nul(text: &str) -> Result<(), Error> {
    match text.contains('\0') {
        true => Err(Error::Payload("a NUL character in a trigger event".to_owned())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{Operation, RowChange};
    use crate::event::Event;

    fn event(ev_type: &str, data: &str) -> Event {
        Event {
            id: 1,
            time: SystemTime::UNIX_EPOCH,
            txid: 1,
            retry: None,
            ev_type: Some(ev_type.to_owned()),
            data: Some(data.to_owned()),
            extra1: Some("public.t".to_owned()),
            extra2: None,
            extra3: None,
            extra4: None,
        }
    }

    fn change(ev_type: &str, data: &str) -> RowChange {
        event(ev_type, data).change().unwrap().unwrap()
    }

    #[test]
    fn urlencoded_row_keeps_nulls_and_empty_strings() {
        let change = change("U:Id,b c", "Id=1&b+c=%c3%a4+b%27%5c&select&e=");
        assert_eq!(change.operation, Operation::Update);
        assert_eq!(change.key, ["Id", "b c"]);
        assert_eq!(change.column("b c"), Some(Some("ä b'\\")));
        assert_eq!(change.column("select"), Some(None));
        assert_eq!(change.column("e"), Some(Some("")));
        assert_eq!(change.column("none"), None);
    }

    #[test]
    fn json_row_has_text_values() {
        let kind = r#"{"op":"INSERT","table":["public","t"],"pkey":["id"]}"#;
        let change = change(kind, r#"{"id":7,"txt":"a\"b","ok":true,"val":null}"#);
        assert_eq!(change.operation, Operation::Insert);
        assert_eq!(change.key, ["id"]);
        assert_eq!(change.column("id"), Some(Some("7")));
        assert_eq!(change.column("ok"), Some(Some("true")));
        assert_eq!(change.column("txt"), Some(Some("a\"b")));
        assert_eq!(change.column("val"), Some(None));
    }

    #[test]
    fn truncate_has_no_columns() {
        assert_eq!(change("R", "").operation, Operation::Truncate);
    }

    #[test]
    fn other_events_are_no_changes() {
        for kind in ["order.paid", "pgq.tick-id", "X:1", "{\"a\":1}"] {
            assert_eq!(event(kind, "x").change().unwrap(), None);
        }
        for data in ["id=%zz", "id=%00", "id=%ff%fe", "%00=1"] {
            let error = event("I:id", data).change().unwrap_err().to_string();
            assert!(error.starts_with("event payload: event 1: "), "{error}");
        }
        let json = r#"{"op":"INSERT","pkey":["id"]}"#;
        for data in [r#"{"id":"\u0000"}"#, r#"{"\u0000":1}"#, "[1]", "{"] {
            assert!(event(json, data).change().is_err(), "{data}");
        }
    }
}
