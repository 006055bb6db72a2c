//! Statements whose plan the session keeps.

use std::cell::RefCell;
use std::rc::Rc;

use pgrx::pg_sys;

use super::answer::Record;
use super::connection::{Connection, Refused, connected};
use super::statement::{Plan, Under};
use crate::value::Value;

/// A statement and, once it has run, its plan: for a `thread_local!`.
pub struct Query {
    sql: &'static str,
    types: &'static [pg_sys::Oid],
    plan: RefCell<Option<Rc<Plan>>>,
}

impl Query {
    /// Nothing is prepared yet.
    pub const fn new(sql: &'static str, types: &'static [pg_sys::Oid]) -> Self {
        Self { sql, types, plan: RefCell::new(None) }
    }

    /// The plan, made by the first call. Errors in the statement are raised.
    pub fn plan(&self, connection: &Connection) -> Result<Rc<Plan>, Refused> {
        if let Some(plan) = self.plan.borrow().as_ref() {
            return Ok(Rc::clone(plan));
        }
        let plan = connection.prepare(self.sql.as_bytes(), self.types)?.keep()?;
        let plan = Rc::new(plan);
        self.plan.replace(Some(Rc::clone(&plan)));
        Ok(plan)
    }

    /// Run it and give `read` the first row; None when there is none.
    pub fn first<R>(
        &self,
        arguments: &[Value],
        under: Under,
        read: impl FnOnce(Record<'_>) -> R,
    ) -> Result<Option<R>, Refused> {
        connected(|connection| {
            let answer = self.plan(connection)?.run(connection, arguments, under)?;
            Ok(answer.records().next().map(read))
        })
    }
}
