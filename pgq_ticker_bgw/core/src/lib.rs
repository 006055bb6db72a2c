//! What PgQ's background worker decides, without the server: when to do what ([`schedule`]), which
//! database gets a worker and when it is started again ([`keeper`], [`backoff`]), which processes
//! of replication a database has ([`crew`]), where a worker
//! stands ([`state`]), and how processes that share memory and no lock leave marks ([`dirty`]) and
//! texts ([`text`]) for each other.
//!
//! Pure: the caller says what it sees and what time it is.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod crew;
pub mod dirty;
pub mod keeper;
pub mod schedule;
pub mod state;
pub mod text;
