//! The worker's session: settings that neither the configuration nor the database may change under
//! it.

use crate::settings;
use pgq_pg::{catalog, guc};

/// Set up the session, inside its first transaction; the database's name.
pub(super) fn prepare_session() -> String {
    // Names in functions that somebody hooked into the maintenance must not be found in a schema
    // anybody can write to.
    guc::set(c"search_path", "pg_catalog, pg_temp");
    // Short statements all of them: see `guc::without_jit`.
    guc::set(c"jit", "off");
    guc::set(c"default_transaction_isolation", "read committed");
    guc::set(c"default_transaction_read_only", "off");
    guc::set(c"default_transaction_deferrable", "off");
    guc::set(c"session_replication_role", "origin");
    guc::set(c"statement_timeout", "0");
    guc::set(c"idle_in_transaction_session_timeout", "0");
    // PostgreSQL has it since 17.
    if guc::is_defined(c"transaction_timeout") {
        guc::set(c"transaction_timeout", "0");
    }
    // A parallel worker would log in as who logged in here, a superuser.
    guc::set(c"max_parallel_workers_per_gather", "0");
    guc::set(c"max_parallel_maintenance_workers", "0");
    apply_lock_timeout();
    // A tick that a crash takes back would be given out again with another content, and a consumer
    // elsewhere may have noted its number.
    if guc::commits_are_asynchronous() {
        guc::set(c"synchronous_commit", "local");
    }
    catalog::my_database_name()
}

/// Take `pgq.worker_lock_timeout` into force.
pub(super) fn apply_lock_timeout() {
    guc::set(c"lock_timeout", &settings::worker_lock_timeout().to_string());
}
