//! Rows as COPY writes them in its text form: fields between tabs.

use crate::change::Captured;
use crate::error::Error;

/// The fields of a row.
pub(super) fn split(row: &[u8]) -> Result<Vec<Option<String>>, Error> {
    let row = row.strip_suffix(b"\n").unwrap_or(row);
    row.split(|byte| *byte == b'\t').map(field).collect()
}

fn field(raw: &[u8]) -> Result<Option<String>, Error> {
    if raw == br"\N" {
        return Ok(None);
    }
    let mut text = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            text.push(*byte);
            continue;
        }
        let escaped = bytes.next().ok_or_else(|| wrong("a backslash ends a field"))?;
        text.push(match escaped {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            other => *other,
        });
    }
    String::from_utf8(text).map(Some).map_err(|_| wrong("a field is not UTF-8"))
}

fn wrong(what: &str) -> Error {
    Error::Answer(format!("copy: {what}"))
}

/// The columns of an event that [`Event::of`] reads, in their order.
pub(super) const EVENT: &str =
    "ev_id, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4";

/// An event of a batch.
pub(super) struct Event {
    id: i64,
    is_retry: bool,
    /// Type, data and the four extras.
    texts: [Option<String>; 6],
}

impl Event {
    /// The event in a row.
    pub(super) fn of(row: &[u8]) -> Result<Self, Error> {
        let mut fields = split(row)?.into_iter();
        let id = fields.next().flatten().and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| wrong("an event without a number"))?;
        let is_retry = fields.next().flatten().is_some();
        let texts: Vec<Option<String>> = fields.collect();
        let texts = texts.try_into().map_err(|_| wrong("an event has eight columns"))?;
        Ok(Self { id, is_retry, texts })
    }

    /// Bytes that it takes, nearly.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.texts.iter().flatten().map(String::len).sum::<usize>()
    }

    fn text(&self, at: usize) -> &str {
        self.texts.get(at).and_then(Option::as_deref).unwrap_or_default()
    }
}

impl Captured for Event {
    fn id(&self) -> i64 {
        self.id
    }

    fn is_retry(&self) -> bool {
        self.is_retry
    }

    fn kind(&self) -> &str {
        self.text(0)
    }

    fn data(&self) -> &str {
        self.text(1)
    }

    fn extra(&self, number: usize) -> &str {
        self.text(number + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Captured, Event, split};

    /// As the server writes it (CopyAttributeOutText).
    fn written(text: &str) -> String {
        let mut out = String::new();
        for character in text.chars() {
            match character {
                '\u{8}' => out += "\\b",
                '\u{c}' => out += "\\f",
                '\n' => out += "\\n",
                '\r' => out += "\\r",
                '\t' => out += "\\t",
                '\u{b}' => out += "\\v",
                '\\' => out += "\\\\",
                other => out.push(other),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn fields_come_back_as_they_were(
            fields in prop::collection::vec(prop::option::of("[^\u{0}]{0,12}"), 1..9),
        ) {
            let texts: Vec<_> = fields
                .iter()
                .map(|field| field.as_deref().map_or("\\N".to_owned(), written))
                .collect();
            let row = texts.join("\t") + "\n";
            prop_assert_eq!(split(row.as_bytes()).unwrap(), fields);
        }

        #[test]
        fn no_bytes_are_a_panic(row in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = split(&row);
            let _ = Event::of(&row);
        }
    }

    #[test]
    fn an_event_has_its_columns() {
        let event = Event::of(b"7\t\\N\tI:id\tid=1\tpublic.t\t\\N\t\\N\tx\n").unwrap();
        assert_eq!((event.id(), event.is_retry()), (7, false));
        assert_eq!((event.kind(), event.data(), event.table()), ("I:id", "id=1", "public.t"));
        assert_eq!((event.extra(2), event.extra(4)), ("", "x"));
        for row in ["", "x\t\\N\ta\tb\tc\td\te\tf", "1\t\\N\ta", "1\t\\N\ta\tb\tc\td\te\tf\tg"] {
            assert!(Event::of(row.as_bytes()).is_err(), "{row}");
        }
    }
}
