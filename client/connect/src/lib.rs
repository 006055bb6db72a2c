//! What libpq's connection strings mean, once for all programs: `pgq`, `pgq_client` and walmgr.
//!
//! [`Conninfo`] reads a string and completes it from environment, service file and password file;
//! [`Connector`] connects as it says, with a [`Tls`] where that is asked for; [`ForProgram`] hands
//! it to programs of PostgreSQL. An option that could make a connection safer is honoured or
//! refused, never ignored.
//!
//! Nothing here prints or logs a secret, and [`redact()`] takes those of others out of any text.
#![forbid(unsafe_code)]

mod connector;
mod conninfo;
mod error;
mod pooler;
mod program;
pub mod quote;
mod redact;
mod transport;

pub use connector::{AsyncCancel, Cancel, Connector, Moves};
pub use conninfo::Conninfo;
pub use conninfo::encryption::{Encryption, Sslmode};
pub use error::{Error, with_causes};
pub use program::ForProgram;
pub use redact::{has_secret, redact};
pub use transport::{BoxError, Handshake, SecretStream, Tls};
