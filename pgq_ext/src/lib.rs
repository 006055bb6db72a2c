//! PgQ: event queues inside PostgreSQL. This crate becomes `pgq.so`.
//!
//! # Words
//!
//! * *event*: a row somebody put into a queue; it has an id, a time, a transaction id, a type, data
//!   and four extras.
//! * *queue*: a named stream of events, kept in a few tables that are filled and truncated in turn
//!   (*rotation*).
//! * *tick*: a position in a queue: a number, a time and a transaction snapshot.
//! * *batch*: the events between two ticks, as one consumer gets them.
//! * *consumer*, *subscription*: who reads, and where in one queue the reader is.
//!
//! # Layout
//!
//! Arrows point one way: domain modules (`event`, `batch`, …) use `pg` and `pgq_core`; `pg` is the
//! unsafe fence around PostgreSQL and knows nothing of queues; `pgq_core` knows nothing of
//! PostgreSQL. The SQL that declares these functions is written by hand in `sql/pgq`.
#![deny(unsafe_code)]

mod batch;
mod error;
mod event;
mod lock;
mod own_relation;
mod pg;
mod trigger;

#[cfg(not(panic = "unwind"))]
compile_error!("PostgreSQL errors cross Rust frames as panics: build with panic = \"unwind\"");

pgrx::pg_module_magic!();
