//! What walmgr's daemon and its clients say to each other.
//!
//! A connection to the daemon's socket serves one request. The client writes it as one line of
//! JSON. The daemon answers with one line, and with a sign of life each [`PULSE`] before that. A
//! connection that ends without an answer, or a client that has lost patience, means: do it
//! yourself.
//!
//! The clients are `walmgr` itself, the server library `walmgr_archive`, and `walmgr-push`, which
//! has no standard library and no allocator. [`plain`] is for that one; feature `json`, on by
//! default, has the messages for the others.
#![cfg_attr(not(feature = "json"), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "json")]
mod message;
mod names;
pub mod plain;
mod times;

#[cfg(feature = "json")]
pub use message::{LIMIT, Reply, Request, Verb, line, parse};
pub use names::{DATA_MARK, IN_DATA, LOCK, SOCKET, SPOOL};
pub use times::{PATIENCE, PULSE, SILENCE};
