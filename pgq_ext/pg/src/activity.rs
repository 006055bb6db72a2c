//! What `pg_stat_activity` shows of this process.

use pgrx::pg_sys;

use super::string::to_server;

/// Show a name for the whole life of the process.
pub fn name(text: &str) {
    let text = to_server(text);
    // SAFETY: the server copies the string.
    unsafe { pg_sys::pgstat_report_appname(text.as_ptr()) }
}

/// Show that the process works on something.
pub fn busy(text: &str) {
    report(pg_sys::BackendState::STATE_RUNNING, text);
}

/// Show that the process waits for something to do.
pub fn idle() {
    // SAFETY: no text: the last one stays, as in an idle session.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null()) }
}

fn report(state: pg_sys::BackendState::Type, text: &str) {
    let text = to_server(text);
    // SAFETY: the server copies the string.
    unsafe { pg_sys::pgstat_report_activity(state, text.as_ptr()) }
}
