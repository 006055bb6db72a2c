//! The one place that prints: tables for people, JSON lines for programs.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

use pgq_client::{Error, redact};
use postgres::types::Type;
use postgres::{Client, Row};
use serde_json::{Map, Value};

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Aligned columns with a header.
    Table,
    /// One JSON object a line.
    Json,
}

/// Rows with names, of text, numbers and booleans.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Rows {
    /// Run a query whose columns are text, numbers or booleans.
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
        let rows = rows.iter().map(values).collect::<Result<_, _>>()?;
        Ok(Self { columns, rows })
    }

    /// Print to standard output. No rows: nothing in JSON, a line that says so in a table.
    pub(crate) fn print(&self, format: Format) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match format {
            Format::Json => {
                for row in &self.rows {
                    let object: Map<String, Value> =
                        self.columns.iter().cloned().zip(row.iter().cloned()).collect();
                    writeln!(out, "{}", visible_json(Value::Object(object).to_string()))?;
                }
            }
            Format::Table if self.rows.is_empty() => writeln!(out, "(none)")?,
            Format::Table => {
                for line in self.lines() {
                    writeln!(out, "{line}")?;
                }
            }
        }
        out.flush()
    }

    /// The table's lines, header first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let cells: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|index| {
                let header =
                    self.columns.get(index).map_or(0, |name| visible(name).chars().count());
                let body = cells.iter().filter_map(|row| row.get(index));
                body.map(|text| text.chars().count()).max().unwrap_or(0).max(header)
            })
            .collect();
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
                _ => row.try_get::<_, Option<String>>(index)?.into(),
            })
        })
        .collect()
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

/// The text with control characters escaped: names and messages come from whoever may connect, and must not steer a terminal or begin a
/// line of their own in a log.
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

/// JSON text with the control characters escaped that JSON itself allows in strings. It means the same.
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
pub(crate) fn line(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", visible(text))?;
    out.flush()
}

/// Print a JSON text to standard output.
pub(crate) fn json_line(json: String) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", visible_json(json))?;
    out.flush()
}

/// Print what was done: a line for people, an object for programs.
pub(crate) fn done(format: Format, what: &str, fields: &[(&str, Value)]) -> std::io::Result<()> {
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
    let _ = writeln!(std::io::stderr().lock(), "pgq: {text}");
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
    let _ = writeln!(std::io::stderr().lock(), "pgq: error: {}", visible(&redact(&text)));
}

/// A progress bar when standard error is a terminal, else one that is not shown.
pub(crate) fn progress(total: Option<u64>, what: &str) -> indicatif::ProgressBar {
    if !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = match total {
        Some(total) => indicatif::ProgressBar::new(total),
        None => indicatif::ProgressBar::no_length(),
    };
    let template = match total {
        Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}",
        None => "{msg} {human_pos} {per_sec} {elapsed}",
    };
    if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(what.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Rows, visible, visible_json};

    #[test]
    fn control_characters_are_seen_and_do_nothing() {
        let name = "x\u{1b}[2J\u{9b}31m\u{7}\u{202e}\r\nä";
        let expected = "x\\u{1b}[2J\\u{9b}31m\\u{7}\\u{202e}\\r\\nä";
        assert_eq!(visible(name), expected);
        assert_eq!(visible("plain ä"), "plain ä");
        let rows = Rows { columns: vec![name.to_owned()], rows: vec![vec![json!(name)]] };
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
        };
        assert_eq!(rows.lines(), ["queue   n", "orders  5", "ä       -"]);
    }
}
