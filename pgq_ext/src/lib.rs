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
//! Arrows point one way: `export` names the functions that SQL calls; the domain modules (`event`,
//! `batch`, …) use `pgq_pg` and `pgq_core`. `pgq_pg` is the unsafe fence around PostgreSQL and
//! knows nothing of queues; `pgq_core` knows nothing of PostgreSQL. The SQL that declares these
//! functions is written by hand in `sql/pgq`.
#![forbid(unsafe_code)]

mod batch;
mod cron;
mod error;
mod event;
mod event_table;
mod export;
mod lock;
mod own_relation;
mod remote;
mod tick;
mod trigger;

#[cfg(not(panic = "unwind"))]
compile_error!("PostgreSQL errors cross Rust frames as panics: build with panic = \"unwind\"");

pgq_pg::library!(pgq_ticker_bgw::init);
