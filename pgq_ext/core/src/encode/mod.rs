//! Text formats of event data: how rows become bytes, and back.
//!
//! Everything here works on bytes in the database's encoding, whatever it is: the characters with a
//! meaning are ASCII, and in every server encoding of PostgreSQL bytes below 128 stand for ASCII
//! characters only.

pub mod buffer;
pub mod decimal;
pub mod json;
pub mod opaque;
pub mod sql;
pub mod url;

pub use buffer::{Buffer, TooLarge};
