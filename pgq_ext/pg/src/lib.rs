//! The unsafe fence: all code of the extension and its worker that PostgreSQL makes unsafe.
//!
//! Nothing here knows of queues, and nothing can: the crate depends on neither. Each module wraps
//! one facility of the server in types and functions that are safe to use, so that the crates above
//! forbid `unsafe`. What differs between versions of PostgreSQL is in `ports`.
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "operations that rest on the same SAFETY sentence share a block"
)]

pub mod activity;
pub mod always_trigger;
pub mod call;
pub mod catalog;
pub mod commit;
mod constants;
pub mod copy;
mod discard;
pub mod fdw;
pub mod function;
pub mod guc;
pub mod heap;
pub mod hot;
pub mod index_scan;
pub mod latch;
pub mod limit;
pub mod load;
pub mod lock;
pub mod memory;
pub mod parameter;
pub mod piece;
mod ports;
pub mod procedure;
pub mod process;
pub mod relation;
pub mod remote;
pub mod report;
pub mod rights;
pub mod row;
pub mod row_store;
pub mod segment;
pub mod sequence;
pub mod session;
pub mod setting;
pub mod shmem;
pub mod snapshot;
pub mod sql;
pub mod string;
pub mod subtransaction;
pub mod text;
pub mod text_buffer;
pub mod trigger;
pub mod utility;
pub mod value;
pub mod watch;
pub mod xact;
pub mod zone;

// For the macros that export functions: their expansions stand in crates of their own.
#[doc(hidden)]
pub use pgrx;
