//! Harness for tests against real PostgreSQL clusters.
//!
//! A [`Tree`] is a private PostgreSQL installation (`tests/env/tree.sh`); a [`Cluster`] is a
//! running server in a directory of its own that is gone when the test is, however the test ends.
//! [`scratch_database`] gives a test its own database in a server that all tests of the process
//! share, which is what most tests want.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test harness a failed step is a failed test, and the message is the report"
)]

pub mod certificates;
mod cluster;
pub mod object_server;
mod port;
pub mod programs;
pub mod query;
pub mod race;
mod random;
mod shared;
pub mod site;
mod tree;
mod unsteady;
mod wait;

pub use cluster::{Cluster, ClusterBuilder, Stop};
pub use port::Port;
pub use random::Random;
pub use shared::{
    Scratch, scratch_database, scratch_database_for_nodes, scratch_database_on,
    scratch_database_with_worker,
};
pub use tree::{Tree, major_version};
pub use wait::{PATIENCE, sqlstate_of, wait_until};
