//! Queries that a session prepares once.

use std::cell::RefCell;

use pgq_pg::guc::without_jit;
use pgrx::pg_sys::PgOid;
use pgrx::spi::{OwnedPreparedStatement, Spi, SpiTupleTable};

use pgrx::datum::DatumWithOid;

/// A query and, once it has run, its plan. PostgreSQL plans again by itself when an object changes.
pub(super) struct KeptQuery {
    sql: &'static str,
    plan: RefCell<Option<OwnedPreparedStatement>>,
}

impl KeptQuery {
    /// Nothing is prepared yet.
    pub(super) const fn new(sql: &'static str) -> Self {
        Self { sql, plan: RefCell::new(None) }
    }

    /// Run it and give `read` the first row; None when there is none.
    pub(super) fn first_row<R>(
        &self,
        args: &[DatumWithOid<'_>],
        read: impl FnOnce(&SpiTupleTable<'_>) -> Result<R, pgrx::spi::Error>,
    ) -> Result<Option<R>, pgrx::spi::Error> {
        without_jit(|| {
            Spi::connect(|client| {
                // Taken out while it runs, so that an error leaves nothing borrowed; then it is
                // prepared again.
                let plan = match self.plan.take() {
                    Some(plan) => plan,
                    None => {
                        let types: Vec<PgOid> = args.iter().map(|arg| arg.oid().into()).collect();
                        client.prepare(self.sql, &types)?.keep()
                    }
                };
                let rows = client.select(&plan, Some(1), args)?.first();
                let result = if rows.is_empty() { None } else { Some(read(&rows)?) };
                self.plan.replace(Some(plan));
                Ok(result)
            })
        })
    }
}
