//! Messages to a syslog daemon, without ever waiting for it: nothing that archives WAL or consumes
//! events may hang because a log daemon does.
//!
//! The form is that of RFC 3164 without a host name, which is what `/dev/log` takes.
#![forbid(unsafe_code)]

mod facility;
mod send;

pub use facility::{Facility, UnknownFacility};
pub use send::{Address, Syslog, connect};
