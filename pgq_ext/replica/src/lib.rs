//! The pure half of replication: what events of row changes mean, and how they become statements.
//!
//! Nothing here talks to a server: whoever does implements [`Session`].
#![forbid(unsafe_code)]

mod apply;
pub mod cascade;
mod change;
mod copy_plan;
mod error;
pub mod name;
mod pattern;
mod session;
mod urlencoded;

pub use apply::{Applied, Applier, LeftOut, Table};
pub use change::{Captured, Operation, RowChange};
pub use copy_plan::{CopyPlan, not_copied};
pub use error::Error;
pub use pattern::Pattern;
pub use session::{Argument, Failure, Row, Session};
