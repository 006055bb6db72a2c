//! What is wrong at the moment, as all processes see it. [`crate::problems`] keeps the account.

use std::sync::atomic::{AtomicI64, AtomicU32};

use pgq_pg::shareable;

use super::text::Text;

shareable! {
    /// Something that went wrong and has not gone right since.
    #[repr(align(64))]
    pub(crate) struct Problem {
        /// Oid of the database; 0: free. Only that database's worker writes the rest.
        pub(crate) database: AtomicU32,
        pub(crate) count: AtomicI64,
        pub(crate) first: AtomicI64,
        pub(crate) last: AtomicI64,
        /// What was done: `tick`, `retry`, `maintenance`, `vacuum`.
        pub(crate) task: Text<4>,
        /// What it was done to: a queue's name or an operation.
        pub(crate) object: Text<24>,
        pub(crate) sqlstate: Text<1>,
        pub(crate) message: Text<32>,
    }
}

impl Problem {
    pub(super) const fn new() -> Self {
        Self {
            database: AtomicU32::new(0),
            count: AtomicI64::new(0),
            first: AtomicI64::new(0),
            last: AtomicI64::new(0),
            task: Text::new(),
            object: Text::new(),
            sqlstate: Text::new(),
            message: Text::new(),
        }
    }

    /// True when it is the failure of that task for that object.
    pub(crate) fn is_about(&self, task: &str, object: &str) -> bool {
        self.task.holds(task) && self.object.holds(object)
    }
}
