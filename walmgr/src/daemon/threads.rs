//! The daemon's threads: none of them ends unnoticed.
//!
//! Clients would wait for what a thread had taken that ended by a panic, and without a daemon they
//! do it themselves. So the daemon ends with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crate::log;

/// Start a thread that works for ever.
pub(crate) fn for_ever(work: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        // The panic has said what it was.
        let _ = catch_unwind(AssertUnwindSafe(work));
        end();
    });
}

/// Start a thread that ends when its work is done.
pub(crate) fn once(work: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            end();
        }
    });
}

fn end() -> ! {
    log::error("a thread has ended, and the daemon with it");
    std::process::exit(1);
}
