//! The worker of a cascade's node, in a process of its own: it replays what its provider has, and
//! copies tables that are new here.
//!
//! What it does next is decided by [`pgq_replica::cascade`]; here are its connections, its threads
//! and its pauses.

mod batch;
mod claim;
mod copier;
mod copies;
mod foreign_keys;
mod link;
mod local;
mod settings;
mod worker;

pub use copies::CascadeCopies;
pub use settings::CascadeSettings;
pub use worker::CascadeWorker;
