//! The one place that prints: tables for people, JSON lines for programs.

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
                    writeln!(out, "{}", Value::Object(object))?;
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
                let header = self.columns.get(index).map_or(0, |name| name.chars().count());
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
        std::iter::once(line(&self.columns)).chain(cells.iter().map(|row| line(row))).collect()
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
        Value::String(text) => text.replace(['\n', '\t'], " "),
        Value::Number(number) if number.is_f64() => {
            format!("{:.1}", number.as_f64().unwrap_or_default())
        }
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    }
}

/// Print a line to standard output.
pub(crate) fn line(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Print what was done: a line for people, an object for programs.
pub(crate) fn done(format: Format, what: &str, fields: &[(&str, Value)]) -> std::io::Result<()> {
    match format {
        Format::Table => line(what),
        Format::Json => {
            let object: Map<String, Value> =
                fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            line(&Value::Object(object).to_string())
        }
    }
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
    let _ = writeln!(std::io::stderr().lock(), "pgq: error: {}", redact(&text));
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

    use super::Rows;

    #[test]
    fn numbers_are_right_aligned_and_nulls_visible() {
        let rows = Rows {
            columns: vec!["queue".to_owned(), "n".to_owned()],
            rows: vec![vec![json!("orders"), json!(5)], vec![json!("ä"), json!(null)]],
        };
        assert_eq!(rows.lines(), ["queue   n", "orders  5", "ä       -"]);
    }
}
