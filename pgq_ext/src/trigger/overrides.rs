//! Fields of an event that magic columns or expressions replace.

use pgq_core::capture::options::{Field, is_command};

use super::capture::Capture;
use crate::error::PgqError;
use pgq_pg::row::Row;
use pgq_pg::setting;
use pgq_pg::text::Text;

/// The fields of an event, in the order of `pgq.insert_event`'s arguments.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fields([Option<Text>; 6]);

impl Fields {
    /// Set one field.
    pub(crate) fn set(&mut self, field: Field, value: Option<Text>) {
        if let Some(at) = Field::ALL.iter().position(|candidate| *candidate == field)
            && let Some(place) = self.0.get_mut(at)
        {
            *place = value;
        }
    }

    /// All of them in order.
    pub(crate) fn values(self) -> [Option<Text>; 6] {
        self.0
    }
}

/// Apply the magic columns, then the expressions. False when `when=` is false.
pub(crate) fn apply(
    capture: &Capture,
    row: &Row<'_>,
    fields: &mut Fields,
) -> Result<bool, PgqError> {
    for column in &capture.magic {
        let field = column
            .field
            .ok_or_else(|| PgqError::UnknownMagic(setting::for_message(&column.name)))?;
        let (value, is_refused) = row.with_text(column.index, |text| {
            (text.map(Text::new), field == Field::Type && text.is_some_and(is_command))
        });
        if let Some(value) = value.filter(|_| is_refused) {
            return Err(PgqError::Command(value.to_display()));
        }
        fields.set(field, value);
    }
    if capture.expressions.are_none() {
        return Ok(true);
    }
    capture.expressions.evaluate(&capture.shape, row, |field, value| fields.set(field, value))
}
