//! Decisions of the change-capture triggers that need no server: what their arguments mean, which
//! columns count, and whether an UPDATE is worth an event.

pub mod change;
pub mod expression;
pub mod kinds;
pub mod names;
pub mod options;
