//! Sessions that race: none may deadlock, wait for ever, or meet an error that is not due.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::Scratch;

use crate::query::{outcome, run};

/// Run the calls of several sessions in turn, all sessions at once, a number of times; the errors
/// they met, but for those with an expected SQLSTATE.
pub fn race(
    database: &Scratch,
    times: usize,
    expected: &[&str],
    sessions: &[&[&str]],
) -> Vec<String> {
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let running: Vec<_> = sessions
            .iter()
            .map(|calls| {
                let failed = &failed;
                scope.spawn(move || {
                    let mut client = database.connect();
                    // A deadlock shows as an error, a wait for ever as this one.
                    run(&mut client, "set client_min_messages = error; set lock_timeout = '90 s'");
                    let mut errors = Vec::new();
                    for round in 0..times {
                        let call = calls[round % calls.len()];
                        let answer = outcome(&mut client, call);
                        let error = answer.strip_prefix("ERROR ");
                        if error.is_some_and(|error| !expected.contains(&&error[..5])) {
                            failed.store(true, Ordering::Relaxed);
                            errors.push(format!("{call}: {answer}"));
                        }
                        if failed.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    errors
                })
            })
            .collect();
        running.into_iter().flat_map(|session| session.join().unwrap()).collect()
    })
}
