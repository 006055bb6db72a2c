//! SQL from Rust, for what is not hot.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::spi::{Spi, SpiTupleTable};

/// Run a query under a snapshot taken now, whatever the transaction's isolation level, and give its rows to `read`.
pub(crate) fn with_latest_snapshot<R>(
    sql: &str,
    args: &[DatumWithOid<'_>],
    read: impl FnOnce(SpiTupleTable<'_>) -> Result<R, pgrx::spi::Error>,
) -> Result<R, pgrx::spi::Error> {
    // SAFETY: GetLatestSnapshot gives a static snapshot, which PushActiveSnapshot copies.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
    // A read-only SPI query uses the active snapshot. An error aborts the (sub)transaction, which pops it.
    let result = Spi::connect(|client| read(client.select(sql, None, args)?));
    // SAFETY: pops what was pushed above; the query has ended.
    unsafe { pg_sys::PopActiveSnapshot() };
    result
}
