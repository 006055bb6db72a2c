//! The integration suite: one binary, one module per concern.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a failed step is a failed test"
)]

mod coop;
mod delivery;
mod harness;
mod query;
