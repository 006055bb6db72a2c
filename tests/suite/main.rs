//! The integration suite: one binary, one folder per product.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "in a test a failed step is a failed test, and small numbers convert"
)]

// Change-capture triggers.
#[cfg(feature = "capture")]
mod capture;
// Library `pgq_client` and program `pgq`.
#[cfg(feature = "client")]
mod client;
// Extensions pgq_coop, pgq_ext and pgq_node; cascades.
#[cfg(feature = "companions")]
mod companions;
// Packaging, pgqd, and what README and documents tell a newcomer to type.
#[cfg(feature = "install")]
mod install;
// Extension `londiste`.
#[cfg(feature = "londiste")]
mod londiste;
// Extension `pgq`.
#[cfg(feature = "pgq")]
mod pgq;
// Tables kept equal by `pgq londiste`.
#[cfg(feature = "replication")]
mod replication;
// What each role, or a stranger, could misuse.
#[cfg(feature = "security")]
mod security;
// Programs `walmgr`, `walmgr-tls` and `walmgr-push`, library `walmgr_archive`.
#[cfg(feature = "walmgr")]
mod walmgr;
// The end of `install::first_steps`: tests run by name, and this one is to be late.
#[cfg(feature = "install")]
mod with_pauses;
// The background worker.
#[cfg(feature = "worker")]
mod worker;
