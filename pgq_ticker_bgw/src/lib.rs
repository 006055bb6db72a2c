//! PgQ's background worker, linked into `pgq.so`.
//!
//! * With the library in `shared_preload_libraries` the server runs one *launcher* ([`launcher`]),
//!   which finds the databases that have the extension and keeps one *worker* ([`worker`]) running
//!   in each.
//! * A backend that commits events marks their queues in shared memory ([`dirty`], [`shared`]) and
//!   wakes the worker.
//! * A consumer in `pgq.wait_batch` ([`wait`]) registers there too. A queue that is marked and
//!   waited for is ticked at once; every other queue by PgQ's classic rules.
//!   Where it can, the consumer lays the tick itself ([`lead`]).
//! * Nodes of a cascade that asked for it have workers of replication beside it ([`cascade`]).
//! * What fails is kept in shared memory until it works again ([`problems`]); SQL reads it through
//!   [`state`], and commands the worker through [`control`].
//!
//! What is done in a database is SQL of the extension's own; the worker decides when. What the
//! server makes unsafe is in `pgq_pg`; [`export`] names what the server and SQL call.
#![forbid(unsafe_code)]

mod cascade;
mod control;
mod dirty;
mod export;
mod launcher;
pub mod lead;
mod problems;
mod settings;
mod shared;
mod state;
mod wait;
mod worker;

pub use cascade::{HARMLESS, is_of_place};
pub use dirty::mark_dirty;

/// Set up the library in this process. To be called from `_PG_init`.
///
/// While the server preloads its libraries this also asks for shared memory and registers the
/// launcher.
pub fn init() {
    if pgq_pg::shmem::is_binary_upgrade() {
        return;
    }
    // A package that is upgraded puts a new file in the place of the one that a running server has
    // preloaded. Through a link of another name, as functions of PgQ 3 have it, sessions load the
    // new one beside the old. That works with the defaults until the restart.
    if settings::are_taken() {
        return;
    }
    settings::define();
    if !pgq_pg::shmem::is_preloading() {
        return;
    }
    pgq_pg::shmem::request(c"pgq worker", shared::size);
    pgq_pg::utility::after_commit_prepared(dirty::after_commit_prepared);
    if settings::max_workers() > 0 {
        pgq_pg::process::register(launcher::KIND);
    }
}
