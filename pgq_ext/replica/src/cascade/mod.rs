//! Cascades: a queue in several databases, and the tables that londiste keeps equal in them.
//!
//! What a node's worker does next is decided by values alone ([`round`], [`tables`], [`copying`]),
//! and done by [`drive`]; what has been done is in the node's database. So a worker that dies
//! anywhere goes on where it was.

pub mod attributes;
pub mod calls;
pub mod claim;
pub mod copier;
pub mod copying;
pub mod drive;
pub mod execute;
pub mod meaning;
pub mod node;
pub mod replay;
pub mod round;
pub mod tables;
