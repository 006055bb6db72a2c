//! What a node's worker does, step by step, over connections and a process that others bring: its
//! round and the copies of its tables.
//!
//! What comes next is decided by [`super::round`], [`super::tables`] and [`super::copying`]; here
//! it is done. What has been done is in the node's database, so whatever fails is begun again from
//! there: after an error a worker or copier forgets what it had at hand.

mod batch;
mod copier;
mod expected;
mod fields;
mod foreign_keys;
mod link;
mod worker;

use std::fmt::Display;
use std::time::Duration;

pub use copier::{Copier, Went};
pub use worker::{Done, Worker};

use super::tables::Table;
use crate::session::Session;

/// The session in the node's database. Outside of [`Local::begin`] and its end each statement is
/// a transaction of its own.
pub trait Local: Session {
    /// Begin a transaction.
    ///
    /// # Errors
    /// The server's.
    fn begin(&mut self) -> Result<(), Self::Error>;

    /// Commit it. After an error nothing is open, and nothing was done.
    ///
    /// # Errors
    /// The server's.
    fn commit(&mut self) -> Result<(), Self::Error>;

    /// Undo it, with all its savepoints.
    fn abort(&mut self);

    /// Forget what others' code may have left in the session: triggers set things, too.
    ///
    /// # Errors
    /// The server's.
    fn tidy(&mut self) -> Result<(), Self::Error>;

    /// Copy rows into columns of a table, by its schema and name, in the text form of COPY, in
    /// UTF-8; how many.
    ///
    /// # Errors
    /// The server's, or that of `rows`.
    fn copy_in(
        &mut self,
        table: (&str, &str),
        columns: &[String],
        rows: Rows<'_, Self::Error>,
    ) -> Result<u64, Self::Error>;
}

/// The next row of what is copied.
pub type Rows<'r, E> = &'r mut dyn FnMut() -> Result<Option<Vec<u8>>, E>;

/// A session at the provider. It shows dates and numbers in a form that any server reads alike.
/// Whoever gets an error of it drops it.
pub trait Remote: Session {
    /// Run `copy … to stdout`, while `body` takes its rows, each with the newline that ends it,
    /// and none at its end.
    ///
    /// # Errors
    /// The provider's, that there is no answer, and those of `body`.
    fn copy_out<T>(
        &mut self,
        sql: &str,
        body: impl FnOnce(Rows<'_, Self::Error>) -> Result<T, Self::Error>,
    ) -> Result<T, Self::Error>;
}

/// The process that works.
pub trait Host {
    /// The session in the node's database.
    type Local: Local;
    /// A session at a provider.
    type Remote: Remote<Error = <Self::Local as Session>::Error>;

    /// The right to work for the node: have it, or take it. False while another worker has it.
    ///
    /// # Errors
    /// The server's.
    fn may_work(&mut self, local: &mut Self::Local) -> Result<bool, ErrorOf<Self>>;

    /// Connect to a node as this consumer.
    ///
    /// # Errors
    /// That there is no connection, or may be none.
    fn connect(
        &mut self,
        local: &mut Self::Local,
        node: &str,
        location: &str,
        consumer: &str,
    ) -> Result<Self::Remote, ErrorOf<Self>>;

    /// See to it that a table has a copier, for the node's worker of this name. False when there is
    /// no such table.
    ///
    /// # Errors
    /// The server's.
    fn copy(
        &mut self,
        local: &mut Self::Local,
        worker: &str,
        table: &str,
    ) -> Result<bool, ErrorOf<Self>>;

    /// End all copiers.
    fn stop_copies(&mut self);

    /// Sleep so long, or until something may have happened. Does not return when the process is to
    /// end.
    fn pause(&mut self, at_most: Duration);

    /// How long the process has run.
    fn now(&self) -> Duration;

    /// Something that is as it should be, for the log.
    fn say(&mut self, what: &dyn Display);

    /// Something that is not.
    fn warn(&mut self, what: &dyn Display);
}

/// What a host's sessions fail with.
pub type ErrorOf<H> = <<H as Host>::Local as Session>::Error;

/// How many tables are copied at once, and how often is looked where nobody waits in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Tables that are copied at once.
    pub parallel_copies: usize,
    /// Between looks at a provider without `pgq.wait_batch`, and while paused.
    pub loop_delay: Duration,
}

/// Under which name a table's copier is known.
pub fn consumer_of_copy(worker: &str, table: &str) -> String {
    format!("{worker}.copy.{table}")
}

/// Run this in a transaction; none: undo it.
fn within<L: Local, T>(
    local: &mut L,
    body: impl FnOnce(&mut L) -> Result<Option<T>, L::Error>,
) -> Result<Option<T>, L::Error> {
    local.begin()?;
    match body(local) {
        Ok(Some(done)) => {
            local.commit()?;
            Ok(Some(done))
        }
        other => {
            local.abort();
            other
        }
    }
}

/// Why a table is never copied by this worker.
fn obstacle(table: &Table) -> Option<String> {
    let other = table.attributes.get("copy_node")?;
    Some(format!("it is to come from node \"{other}\", and this worker copies from the provider"))
}
