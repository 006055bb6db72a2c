//! ALTER EXTENSION … UPDATE while everything goes on.

mod live;
mod locks;
pub(crate) mod released;
