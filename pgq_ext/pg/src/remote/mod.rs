//! Statements in other servers, by the client library, without ever waiting for one: this process
//! sleeps on its latch beside the socket. Cancel, timeouts, terminate and shutdown end it at once,
//! also when the other side hangs or is not there.
//!
//! A connection is a value and closed with it, also when an error unwinds. Only looking up the name
//! of a host waits, as in everything that uses the library.

mod answer;
mod connection;
mod copy;
mod failure;
mod libpq;
mod memory;
mod options;
mod statement;

pub use self::connection::Connection;
pub use self::copy::CopyOut;
pub use self::failure::Failure;
pub use self::options::{Key, Options};
