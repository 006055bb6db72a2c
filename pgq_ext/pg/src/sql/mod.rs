//! Statements, run through SPI.
//!
//! There is one way: a [`Statement`], run in a [`Connection`], [`Under`] a snapshot that the caller
//! names. [`Prepared`] is one that its connection frees, [`Plan`] one that is kept for as long as
//! the value lives, [`Query`] one whose plan the session keeps. pgrx's own functions do not fit:
//! which snapshot they take depends on whether the transaction has its id.

mod answer;
mod connection;
mod query;
mod statement;

pub use self::answer::{Answer, Record};
pub use self::connection::{Connection, Refused, connected};
pub use self::query::Query;
pub use self::statement::{Plan, Prepared, Statement, Under};
