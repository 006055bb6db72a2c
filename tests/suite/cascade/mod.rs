//! Cascades over several databases. The tests play the workers: `set.rs` has their protocol, and an administrator who moves the
//! root.

mod failover;
mod set;
mod switchover;
