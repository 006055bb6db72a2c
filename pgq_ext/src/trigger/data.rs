//! Rows as event data, and the analysis of changes that goes with it.

use pgq_core::capture::change::{Changes, Role};
use pgq_core::encode::sql::Items;
use pgq_core::encode::{Buffer, json, url};

use super::capture::{Capture, JsonValue};
use super::format::Format;
use crate::error::PgqError;
use pgq_pg::row::Row;

/// The rows of one change.
#[derive(Clone, Copy)]
pub(crate) enum Change<'r> {
    Insert { new: Row<'r> },
    Update { old: Row<'r>, new: Row<'r> },
    Delete { old: Row<'r> },
}

impl<'r> Change<'r> {
    /// The row that expressions and magic columns look at.
    pub(crate) fn row(&self) -> Row<'r> {
        match *self {
            Self::Insert { new } | Self::Update { new, .. } => new,
            Self::Delete { old } => old,
        }
    }
}

/// Write `ev_data` of a change; false when the change is not worth an event.
pub(crate) fn write(
    capture: &Capture,
    change: &Change<'_>,
    out: &mut Buffer,
) -> Result<bool, PgqError> {
    if capture.format.is_sql() {
        return write_sql(capture, change, out);
    }
    if let Change::Update { old, new } = change
        && !is_interesting(capture, old, new)?
    {
        return Ok(false);
    }
    match capture.format {
        Format::Json => write_json(capture, &change.row(), out),
        _ => write_url(capture, &change.row(), out),
    }
    Ok(true)
}

/// Write the old row of an UPDATE for `ev_extra2`.
pub(crate) fn write_backup(capture: &Capture, old: &Row<'_>, out: &mut Buffer) {
    match capture.format {
        Format::Json => write_json(capture, old, out),
        Format::Url | Format::Sql | Format::Kinds => write_url(capture, old, out),
    }
}

/// Without an `ignore=` list every UPDATE is of interest, if it leaves the key alone.
fn is_interesting(capture: &Capture, old: &Row<'_>, new: &Row<'_>) -> Result<bool, PgqError> {
    let looks_at_data = capture.options.ignore.is_some();
    let mut changes = Changes::default();
    for column in &capture.columns {
        // Once a change in the data is found, only the key still matters.
        let matters = column.role == Role::Key || looks_at_data && !changes.has_data();
        if matters && !old.has_same(new, column.index) {
            changes.note(column.role)?;
        }
    }
    Ok(changes.are_interesting())
}

fn write_url(capture: &Capture, row: &Row<'_>, out: &mut Buffer) {
    // Only the format's own labels are urlencoded; the SQL formats use this for backups, which are
    // rare.
    let is_own = capture.format == Format::Url;
    let mut writer = url::RowWriter::new(out);
    for column in capture.columns.iter().filter(|column| column.is_emitted) {
        let encoded;
        let label = if is_own {
            &*column.label
        } else {
            let name = capture.shape.column(column.index).map_or(&b""[..], |column| &column.name);
            encoded = url::encode(name);
            &*encoded
        };
        row.with_text(column.index, |text| match text {
            Some(text) => writer.value(label, text),
            None => writer.null(label),
        });
    }
}

fn write_json(capture: &Capture, row: &Row<'_>, out: &mut Buffer) {
    let mut writer = json::RowWriter::new(out);
    for column in capture.columns.iter().filter(|column| column.is_emitted) {
        let label = &*column.label;
        let mut write = |text: Option<&[u8]>| match (text, column.json) {
            (None, _) => writer.null(label),
            (Some(b"t"), JsonValue::Bool) => writer.bare(label, b"true"),
            (Some(_), JsonValue::Bool) => writer.bare(label, b"false"),
            (Some(text), JsonValue::Number) => writer.bare(label, text),
            (Some(text), JsonValue::Time | JsonValue::String) => writer.string(label, text),
        };
        if column.json == JsonValue::Time {
            row.with_iso_time(column.index, &mut write);
        } else {
            row.with_text(column.index, &mut write);
        }
    }
    writer.finish();
}

fn write_sql(capture: &Capture, change: &Change<'_>, out: &mut Buffer) -> Result<bool, PgqError> {
    match change {
        Change::Insert { new } => {
            out.extend(&capture.insert_head);
            let mut items = Items::new(out, b",");
            for column in capture.columns.iter().filter(|column| column.is_emitted) {
                new.with_text(column.index, |text| items.value(text));
            }
            out.push(b')');
            Ok(true)
        }
        Change::Update { old, new } => write_sql_update(capture, old, new, out),
        Change::Delete { old } => {
            write_where(capture, old, out)?;
            Ok(true)
        }
    }
}

/// `c='v' where k='o'`. An UPDATE that changes nothing sets the first key column to itself.
fn write_sql_update(
    capture: &Capture,
    old: &Row<'_>,
    new: &Row<'_>,
    out: &mut Buffer,
) -> Result<bool, PgqError> {
    let mut changes = Changes::default();
    let mut items = Items::new(out, b",");
    for column in &capture.columns {
        if old.has_same(new, column.index) {
            continue;
        }
        changes.note(column.role)?;
        if column.role == Role::Data {
            new.with_text(column.index, |text| items.assignment(&column.label, text));
        }
    }
    if !changes.are_interesting() {
        return Ok(false);
    }
    if items.is_empty()
        && let Some(key) = capture.columns.iter().find(|column| column.role == Role::Key)
    {
        old.with_text(key.index, |text| match text {
            Some(_) => {
                items.assignment(&key.label, text);
                Ok(())
            }
            None => Err(PgqError::NullKey),
        })?;
    }
    out.extend(b" where ");
    write_where(capture, old, out)?;
    Ok(true)
}

fn write_where(capture: &Capture, old: &Row<'_>, out: &mut Buffer) -> Result<(), PgqError> {
    let mut items = Items::new(out, b" and ");
    for column in capture.columns.iter().filter(|column| column.role == Role::Key) {
        old.with_text(column.index, |text| match text {
            Some(_) => {
                items.assignment(&column.label, text);
                Ok(())
            }
            None => Err(PgqError::NullKey),
        })?;
    }
    Ok(())
}
