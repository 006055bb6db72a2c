//! What the worker runs, and how it went.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Worker, maintenance, slot};
use crate::problems;
use pgq_pg::process;
use pgq_pg::session::{self, Failure, Row};

impl Worker {
    /// Run SQL as role `pgq_admin` in a transaction of its own.
    pub(super) fn in_transaction<T>(
        &self,
        limit: Option<Duration>,
        body: impl FnOnce() -> T,
    ) -> Result<T, Failure> {
        if self.role.is_none() {
            return Err(Failure::new("42704", "role \"pgq_admin\" does not exist"));
        }
        maintenance::limited(limit, || session::transaction_for_others(limit, body))
    }

    /// The same, and remember how it went for this task and object.
    pub(super) fn attempt(
        &self,
        task: &str,
        object: &str,
        limit: Option<Duration>,
        body: impl FnOnce() -> Vec<Row>,
    ) -> Result<Vec<Row>, Failure> {
        maintenance::begin(task, object);
        let result = self.in_transaction(limit, body);
        match &result {
            Ok(_) => problems::resolve(&self.shared, self.database, task, object),
            Err(failure) => self.note_failure(task, object, failure),
        }
        result
    }

    /// Forget what functions that anybody may have written have left in this session.
    pub(super) fn discard(&self) {
        if let Err(failure) = session::discard_everything() {
            slot::fail(self.slot, &failure);
        }
    }

    pub(super) fn note_failure(&self, task: &str, object: &str, failure: &Failure) {
        problems::record(&self.shared, self.database, task, object, failure);
        self.slot.errors.fetch_add(1, Ordering::SeqCst);
        self.slot.error.store(&format!("{task} of \"{object}\": {}", failure.message));
        self.slot.error_at.store(process::timestamp(), Ordering::SeqCst);
    }
}
