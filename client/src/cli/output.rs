//! The one place that prints: tables for people, JSON lines for programs.
//!
//! Times are ISO 8601. Durations are `hours:minutes:seconds` for people and seconds for programs.

use std::borrow::Cow;
use std::io::Write;
use std::time::SystemTime;

use pgq_client::{Error, redact};
use postgres::types::{FromSql, Type};
use postgres::{Client, Column, Row};
use serde_json::{Map, Value};

use super::advice;

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Aligned columns with a header.
    Table,
    /// One JSON object a line.
    Json,
}

/// Standard output cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("standard output: {0}")]
pub(crate) struct OutputError(#[from] std::io::Error);

/// Rows with names, of text, numbers and booleans.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
    /// What the rows are, for programs that read a stream of several kinds.
    pub(crate) kind: Option<&'static str>,
    /// Columns whose numbers are seconds.
    pub(crate) durations: Vec<bool>,
}

impl Rows {
    /// Run a query whose columns are text, numbers, booleans, times or intervals.
    pub(crate) fn query(
        client: &mut Client,
        sql: &str,
        parameters: &[(&(dyn postgres::types::ToSql + Sync), Type)],
    ) -> Result<Self, Error> {
        let rows = client.query_typed(sql, parameters)?;
        let columns = rows
            .first()
            .map(|row| row.columns().iter().map(|column| column.name().to_owned()).collect())
            .unwrap_or_default();
        let is_interval = |column: &Column| *column.type_() == Type::INTERVAL;
        let durations = rows
            .first()
            .map(|row| row.columns().iter().map(is_interval).collect())
            .unwrap_or_default();
        let rows = rows.iter().map(values).collect::<Result<_, _>>()?;
        Ok(Self { columns, rows, kind: None, durations })
    }

    /// Say in JSON, in a field `kind`, what each row is.
    pub(crate) fn of_kind(self, kind: &'static str) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// Print to standard output. No rows: nothing in JSON, a line that says so in a table.
    pub(crate) fn print(&self, format: Format) -> Result<(), OutputError> {
        let mut out = std::io::stdout().lock();
        match format {
            Format::Json => {
                for line in self.json_lines() {
                    writeln!(out, "{line}")?;
                }
            }
            Format::Table if self.rows.is_empty() => writeln!(out, "(none)")?,
            Format::Table => {
                for line in self.lines() {
                    writeln!(out, "{line}")?;
                }
            }
        }
        Ok(out.flush()?)
    }

    /// An object a row.
    fn json_lines(&self) -> Vec<String> {
        let object = |row: &Vec<Value>| {
            let kind = self.kind.map(|kind| ("kind".to_owned(), Value::from(kind)));
            let fields = self.columns.iter().zip(row);
            let fields = fields.map(|(name, value)| (name.clone(), shown(name, value)));
            let object: Map<String, Value> = kind.into_iter().chain(fields).collect();
            visible_json(Value::Object(object).to_string())
        };
        self.rows.iter().map(object).collect()
    }

    /// The table's lines, header first.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines_at_least(&mut Vec::new())
    }

    /// The table's lines with columns that are at least as wide as before, so that they do not move
    /// from look to look.
    pub(crate) fn lines_at_least(&self, before: &mut Vec<usize>) -> Vec<String> {
        let text = |(index, value): (usize, &Value)| match self.durations.get(index) {
            Some(true) => duration(value),
            _ => cell(&shown(self.columns.get(index).map_or("", String::as_str), value)),
        };
        let cells: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().enumerate().map(text).collect()).collect();
        let needed: Vec<usize> = (0..self.columns.len())
            .map(|index| {
                let header =
                    self.columns.get(index).map_or(0, |name| visible(name).chars().count());
                let body = cells.iter().filter_map(|row| row.get(index));
                body.map(|text| text.chars().count()).max().unwrap_or(0).max(header)
            })
            .collect();
        before.resize(needed.len(), 0);
        for (width, needed) in before.iter_mut().zip(needed) {
            *width = needed.max(*width);
        }
        let widths = &*before;
        let numeric: Vec<bool> = (0..self.columns.len())
            .map(|index| self.rows.iter().filter_map(|row| row.get(index)).any(Value::is_number))
            .collect();
        let line = |row: &[String]| {
            let mut text = String::new();
            for (index, cell) in row.iter().enumerate() {
                let width = widths.get(index).copied().unwrap_or(0);
                let padding = " ".repeat(width - cell.chars().count().min(width));
                if numeric.get(index) == Some(&true) {
                    text.push_str(&padding);
                    text.push_str(cell);
                } else {
                    text.push_str(cell);
                    text.push_str(&padding);
                }
                text.push_str("  ");
            }
            text.trim_end().to_owned()
        };
        let header: Vec<String> =
            self.columns.iter().map(|name| visible(name).into_owned()).collect();
        std::iter::once(line(&header)).chain(cells.iter().map(|row| line(row))).collect()
    }
}

/// Columns with somebody's words: they may have a password in them. Others are names and data,
/// which stay as they are.
const SAID: [&str; 6] = ["error", "last_error", "finding", "remedy", "problem", "detail"];

/// What is shown of a value of this column.
pub(crate) fn shown(column: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if SAID.contains(&column) => Value::from(redact(text)),
        other => other.clone(),
    }
}

fn values(row: &Row) -> Result<Vec<Value>, Error> {
    row.columns()
        .iter()
        .enumerate()
        .map(|(index, column)| {
            Ok(match *column.type_() {
                Type::INT8 => row.try_get::<_, Option<i64>>(index)?.into(),
                Type::INT4 => row.try_get::<_, Option<i32>>(index)?.into(),
                Type::FLOAT8 => row.try_get::<_, Option<f64>>(index)?.into(),
                Type::BOOL => row.try_get::<_, Option<bool>>(index)?.into(),
                Type::INTERVAL => {
                    let seconds = row.try_get::<_, Option<Interval>>(index)?;
                    seconds.map(|Interval(seconds)| seconds).into()
                }
                Type::TIMESTAMPTZ => {
                    let time = row.try_get::<_, Option<SystemTime>>(index)?;
                    time.map(|time| humantime::format_rfc3339_millis(time).to_string()).into()
                }
                _ => row.try_get::<_, Option<String>>(index)?.into(),
            })
        })
        .collect()
}

/// An interval, in seconds. A month is 30 days, as `extract(epoch …)` has it within a year.
struct Interval(f64);

impl<'r> FromSql<'r> for Interval {
    #[expect(clippy::as_conversions, reason = "2^53 microseconds are 285 years")]
    fn from_sql(
        _: &Type,
        bytes: &'r [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let (time, rest) = bytes.split_at_checked(8).ok_or("an interval has 16 bytes")?;
        let (days, months) = rest.split_at_checked(4).ok_or("an interval has 16 bytes")?;
        let days = i32::from_be_bytes(days.try_into()?);
        let months = i32::from_be_bytes(months.try_into()?);
        let days = f64::from(days) + 30.0 * f64::from(months);
        let milliseconds = (i64::from_be_bytes(time.try_into()?) as f64 / 1e3).round();
        Ok(Self((days * 86_400_000.0 + milliseconds) / 1e3))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::INTERVAL
    }
}

/// Seconds as `hours:minutes:seconds`, always as wide.
fn duration(value: &Value) -> String {
    let Some(seconds) = value.as_f64() else { return cell(value) };
    let sign = if seconds < 0.0 { "-" } else { "" };
    let tenths = (seconds.abs() * 10.0).round();
    let (hours, rest) = ((tenths / 36_000.0).floor(), tenths % 36_000.0);
    let (minutes, rest) = ((rest / 600.0).floor(), rest % 600.0);
    format!("{sign}{hours:02.0}:{minutes:02.0}:{:04.1}", rest / 10.0)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => visible(&text.replace(['\n', '\t'], " ")).into_owned(),
        Value::Number(number) if number.is_f64() => {
            format!("{:.1}", number.as_f64().unwrap_or_default())
        }
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    }
}

/// Does a terminal act on this character, or turn the line around?
fn is_hidden(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with control characters escaped: names and messages come from whoever may connect, and
/// must not steer a terminal or begin a line of their own in a log.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            char if is_hidden(char) => out.push_str(&format!("\\u{{{:x}}}", u32::from(char))),
            char => out.push(char),
        }
    }
    Cow::Owned(out)
}

/// JSON text with the control characters escaped that JSON itself allows in strings. It means the
/// same.
pub(crate) fn visible_json(json: String) -> String {
    if !json.contains(is_hidden) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for char in json.chars() {
        match char {
            // Between the tokens of a pretty-printed text.
            '\n' => out.push(char),
            char if is_hidden(char) => out.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out
}

/// Print a line to standard output.
pub(crate) fn line(text: &str) -> Result<(), OutputError> {
    write(&format!("{}\n", visible(text)))
}

/// Print a text as it is.
pub(crate) fn write(text: &str) -> Result<(), OutputError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Print a JSON text to standard output.
pub(crate) fn json_line(json: String) -> Result<(), OutputError> {
    write(&format!("{}\n", visible_json(json)))
}

/// Print what was done: a line for people, an object for programs.
pub(crate) fn done(
    format: Format,
    what: &str,
    fields: &[(&str, Value)],
) -> Result<(), OutputError> {
    match format {
        Format::Table => line(what),
        Format::Json => {
            let object: Map<String, Value> =
                fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            json_line(Value::Object(object).to_string())
        }
    }
}

/// A number with its noun: `1 event`, `2 batches`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let ending = match (number, noun.ends_with("ch")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {noun}{ending}")
}

/// Say something on standard error, beside what standard output is for.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "pgq: {}", redact(text));
}

/// Print what the argument parser says, which is several lines, without passwords.
pub(crate) fn complain_of_arguments(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", redact(text.trim_end()));
}

/// Print an error to standard error, once, without passwords.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    if let Some(hint) = advice::about(error) {
        text.push_str(&format!("; hint: {hint}"));
    }
    let _ = writeln!(std::io::stderr().lock(), "pgq: error: {}", visible(&redact(&text)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Rows, duration, visible, visible_json};

    #[test]
    fn words_are_shown_without_passwords_and_names_as_they_are() {
        let secret = json!("cannot: postgres://u:QXZ@h/d and password=QXZ");
        for column in ["error", "last_error", "finding", "remedy", "problem", "detail"] {
            let rows = Rows {
                columns: vec![column.to_owned(), "queue".to_owned()],
                rows: vec![vec![secret.clone(), json!("password=name")]],
                ..Rows::default()
            };
            let (table, json) = (rows.lines().join("\n"), rows.json_lines().join("\n"));
            assert!(!table.contains("QXZ") && !json.contains("QXZ"), "{table}\n{json}");
            assert!(table.contains("password=name") && json.contains("password=name"));
        }
    }

    #[test]
    fn control_characters_are_seen_and_do_nothing() {
        let name = "x\u{1b}[2J\u{9b}31m\u{7}\u{202e}\r\nä";
        let expected = "x\\u{1b}[2J\\u{9b}31m\\u{7}\\u{202e}\\r\\nä";
        assert_eq!(visible(name), expected);
        assert_eq!(visible("plain ä"), "plain ä");
        let rows = Rows {
            columns: vec![name.to_owned()],
            rows: vec![vec![json!(name)]],
            ..Rows::default()
        };
        for line in rows.lines() {
            assert!(!line.contains(char::is_control), "{line:?}");
        }
        let json = visible_json(json!({ name: name }).to_string());
        assert!(!json.contains(|char: char| char.is_control() || char == '\u{202e}'), "{json:?}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json).unwrap(),
            json!({ name: name })
        );
    }

    #[test]
    fn numbers_are_right_aligned_and_nulls_visible() {
        let rows = Rows {
            columns: vec!["queue".to_owned(), "n".to_owned()],
            rows: vec![vec![json!("orders"), json!(5)], vec![json!("ä"), json!(null)]],
            ..Rows::default()
        };
        assert_eq!(rows.lines(), ["queue   n", "orders  5", "ä       -"]);
    }

    #[test]
    fn durations_are_always_as_wide() {
        for (seconds, text) in [
            (0.0, "00:00:00.0"),
            (54.32, "00:00:54.3"),
            (59.96, "00:01:00.0"),
            (3_599.96, "01:00:00.0"),
            (360_000.0, "100:00:00.0"),
            (-1.5, "-00:00:01.5"),
        ] {
            assert_eq!(duration(&json!(seconds)), text);
        }
        assert_eq!(duration(&json!(null)), "-");
    }
}
