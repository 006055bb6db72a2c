//! The session of a process of replication: the role's, with settings that neither the role nor the
//! database can change under it. Where names are looked for is theirs: triggers may rely on it.

use pgq_pg::session::Failure;
use pgq_pg::{activity, catalog, guc, piece, report};

/// Set up the session, inside its first transaction.
pub(super) fn prepare() -> Result<(), Failure> {
    piece::begin()?;
    piece::attempt(set)?;
    piece::commit()
}

/// Be known by this name, and say so. A `reset all` comes back to it.
pub(super) fn name(title: &str) {
    activity::name(title);
    let name = || {
        guc::set(c"application_name", title);
        catalog::my_database_name()
    };
    let named = piece::begin().and_then(|()| piece::attempt(name));
    match named.and_then(|database| piece::commit().map(|()| database)) {
        Ok(database) => report::log(&format!("{title} starts in database \"{database}\"")),
        Err(failure) => {
            piece::abort();
            report::warning(&format!("{title} has no name: {}", failure.message));
        }
    }
}

fn set() {
    for (name, value) in [
        // As which texts are read and shown.
        (c"client_encoding", "UTF8"),
        (c"datestyle", "ISO, MDY"),
        (c"intervalstyle", "postgres"),
        (c"extra_float_digits", "3"),
        (c"bytea_output", "hex"),
        (c"standard_conforming_strings", "on"),
        (c"default_transaction_isolation", "read committed"),
        (c"default_transaction_read_only", "off"),
        (c"default_transaction_deferrable", "off"),
        (c"session_replication_role", "origin"),
        (c"jit", "off"),
        // How long something may take is up to the provider's rows, and to who holds locks.
        (c"statement_timeout", "0"),
        (c"lock_timeout", "0"),
        (c"idle_in_transaction_session_timeout", "0"),
    ] {
        guc::set(name, value);
    }
    // What is completed here is told to the provider at once, and has to outlive a crash.
    if guc::commits_are_asynchronous() {
        guc::set(c"synchronous_commit", "local");
    }
    for later in [c"transaction_timeout", c"idle_session_timeout"] {
        if guc::is_defined(later) {
            guc::set(later, "0");
        }
    }
}
