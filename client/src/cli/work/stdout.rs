//! Batches to standard output, a line an event.

use std::io::Write;

use pgq_client::{HandlerError, OpenBatch};

use super::line::Form;

/// Print one batch.
pub(in crate::cli) fn batch_to_stdout(
    batch: &mut OpenBatch<'_, '_>,
    form: Form,
) -> Result<(), HandlerError> {
    let mut out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    while let Some(page) = batch.next_page()? {
        for event in &page {
            writeln!(out, "{}", form.line(event))?;
        }
    }
    // Only what has left this process may be acknowledged.
    out.flush()?;
    Ok(())
}
