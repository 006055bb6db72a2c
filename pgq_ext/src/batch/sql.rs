//! `pgq.batch_event_sql`: the batch query as text.

use pgq_core::batch_sql::batch_sql;

use super::open_batch::OpenBatch;
use crate::error::PgqError;
use crate::pg::call::{Call, Returned};
use crate::pg::text::Text;

/// `pgq.batch_event_sql(x_batch_id)`.
pub(crate) fn batch_event_sql(call: &Call) -> Result<Returned, PgqError> {
    let id = call.int8(0);
    let batch = OpenBatch::load(id)?;
    let text = batch_sql(batch.reference, &batch.window, &batch.tables)
        .ok_or(PgqError::NoBatchSql { batch: id.unwrap_or_default() })?;
    Ok(Returned::Text(Text::new(text.as_bytes())))
}
