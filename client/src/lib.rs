//! PgQ for programs outside the server: producers, consumers of several kinds, and a ticker.
//!
//! A *queue* lives in a PostgreSQL database. Producers insert *events*; *ticks* cut the stream of
//! committed events into *batches*; each registered *consumer* gets every batch once it asks, and
//! moves on by finishing it.
//!
//! | type | effects go to | guarantee |
//! |---|---|---|
//! | [`Consumer`] | the queue's database | exactly once; at least once for anything else |
//! | [`Consumer`] with [`ConsumerBuilder::position_file`] | this machine | at least once |
//! | [`CoopConsumer`] | several processes share the batches | the same, in no particular order |
//! | [`RemoteConsumer`] | another database | exactly once |
//! | `AsyncConsumer` | the same, by async functions (feature `tokio`) | the same |
//! | [`Producer`] | the queue, in the caller's transaction | commits or rolls back with it |
//! | [`Ticker`] | makes the ticks where the server has no worker | |
//!
//! Only the simple and the unnamed extended protocol are used, so everything works through
//! pgbouncer in transaction mode. The library logs through the `log` crate and never prints.
//! Passwords do not get into errors or logs.
//!
//! # Example
//!
//! This is `examples/consumer.rs`, which the test suite runs:
//!
//! ```no_run
#![doc = include_str!("../examples/consumer.rs")]
//! ```
//!
//! For effects in another database there is `examples/remote_consumer.rs`:
//!
//! ```no_run
#![doc = include_str!("../examples/remote_consumer.rs")]
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "tokio")]
mod asynchronous;
mod backoff;
mod batch;
mod builder;
mod cascade;
mod connector;
mod consumer;
mod coop;
mod copying;
mod cure;
mod cursor;
pub mod dead_letter;
mod error;
mod event;
mod failpoint;
mod failure;
mod features;
mod ini;
mod intake;
mod notices;
mod outage;
mod position;
mod producer;
mod remote;
mod session;
mod statements;
mod stats;
mod stop;
mod subscription;
mod ticker;
mod until_now;
mod work;

#[cfg(feature = "tokio")]
pub use asynchronous::{AsyncBatch, AsyncConsumer, AsyncConsumerBuilder, AsyncStop};
pub use backoff::Backoff;
pub use batch::Batch;
pub use builder::Builder;
pub use cascade::{CascadeCopies, CascadeSettings, CascadeWorker};
pub use connector::Connector;
pub use consumer::{Consumer, ConsumerBuilder, Local, OpenBatch};
pub use coop::{CoopConsumer, CoopConsumerBuilder};
pub use cure::Cure;
pub use error::{Error, HandlerError, ServerError};
pub use event::{Event, NewEvent};
pub use failure::{OnFailure, Outcome};
pub use features::Features;
pub use ini::read_ini;
pub use pgq_connect::{Conninfo, redact};
pub use pgq_replica::cascade::replay::Register;
pub use pgq_replica::{Applied, Applier, Operation, Pattern, RowChange};
pub use postgres;
pub use producer::Producer;
pub use remote::{Remote, RemoteBatch, RemoteConsumer, RemoteConsumerBuilder, Tracking};
pub use statements::Statements;
pub use stats::{BatchReport, Stats};
pub use stop::Stop;
pub use subscription::BatchRule;
pub use ticker::{SyslogFacility, Ticker, TickerConfig};
#[cfg(feature = "tokio")]
pub use tokio_postgres;
pub use work::Work;
