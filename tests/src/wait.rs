//! Waiting and error helpers.

use std::time::{Duration, Instant};

/// How long a test waits for what must come: longer than a host at many times its load takes.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Poll until the condition holds; false when it does not within the limit. Tests never just sleep.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// SQLSTATE of a failed statement; panics when it succeeded or the failure is not the server's. Not
/// for what ends the session: see [`crate::query::Doomed`].
pub fn sqlstate_of<T>(result: Result<T, postgres::Error>) -> String {
    match result {
        Ok(_) => panic!("the statement succeeded where an error was due"),
        Err(error) => match error.code() {
            Some(code) => code.code().to_owned(),
            None => panic!("not an error of the server: {error}"),
        },
    }
}
