//! Row changes, as PgQ's triggers write them into events: logutriga (urlencoded) and jsontriga.

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;
use crate::urlencoded::{self, refuse_nul};

/// An event of a batch.
pub trait Captured {
    /// Its id, for messages.
    fn id(&self) -> i64;
    /// True when it comes from the retry queue.
    fn is_retry(&self) -> bool;
    /// Its type, or the empty string.
    fn kind(&self) -> &str;
    /// Its payload, or the empty string.
    fn data(&self) -> &str;
    /// The extra field of this number from 1 to 4, or the empty string.
    fn extra(&self, number: usize) -> &str;

    /// The table, where it tells of a row's change.
    fn table(&self) -> &str {
        self.extra(1)
    }
}

impl<E: Captured> Captured for &E {
    fn id(&self) -> i64 {
        (*self).id()
    }

    fn is_retry(&self) -> bool {
        (*self).is_retry()
    }

    fn kind(&self) -> &str {
        (*self).kind()
    }

    fn data(&self) -> &str {
        (*self).data()
    }

    fn extra(&self, number: usize) -> &str {
        (*self).extra(number)
    }
}

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

impl RowChange {
    /// The row change that a PgQ trigger (logutriga or jsontriga) put into this event; none for
    /// other events.
    ///
    /// # Errors
    /// [`Error::Payload`] when type and payload of a trigger event do not parse.
    pub fn of(event: &impl Captured) -> Result<Option<Self>, Error> {
        Self::decode(event).map_err(|error| match error {
            Error::Payload(what) => Error::Payload(format!("event {}: {what}", event.id())),
            other => other,
        })
    }

    fn decode(event: &impl Captured) -> Result<Option<Self>, Error> {
        let (kind, data) = (event.kind(), event.data());
        let table = event.table().to_owned();
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
        Ok(Some(Self { operation, table, key, columns: urlencoded::pairs(data)? }))
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

#[cfg(test)]
mod tests {
    use super::{Captured, Error, Operation, RowChange};

    struct Event<'e>(&'e str, &'e str);

    impl Captured for Event<'_> {
        fn id(&self) -> i64 {
            1
        }

        fn kind(&self) -> &str {
            self.0
        }

        fn data(&self) -> &str {
            self.1
        }

        fn is_retry(&self) -> bool {
            false
        }

        fn extra(&self, _number: usize) -> &str {
            "public.t"
        }
    }

    fn decode(kind: &str, data: &str) -> Result<Option<RowChange>, Error> {
        RowChange::of(&Event(kind, data))
    }

    fn change(kind: &str, data: &str) -> RowChange {
        decode(kind, data).unwrap().unwrap()
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
            assert_eq!(decode(kind, "x").unwrap(), None);
        }
        for data in ["id=%zz", "id=%00", "id=%ff%fe", "%00=1"] {
            let error = decode("I:id", data).unwrap_err().to_string();
            assert!(error.starts_with("event payload: event 1: "), "{error}");
        }
        let json = r#"{"op":"INSERT","pkey":["id"]}"#;
        for data in [r#"{"id":"\u0000"}"#, r#"{"\u0000":1}"#, "[1]", "{"] {
            assert!(decode(json, data).is_err(), "{data}");
        }
    }
}
