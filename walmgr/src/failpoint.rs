//! Named places where tests make walmgr die or fail.
//!
//! `WALMGR_FAILPOINT=NAME=ACTION[@N]` arms one place in debug builds: at its N-th visit (the first
//! without `@N`) the process kills itself (`kill`), stays where it is (`stop`) or until it is
//! continued (`pause`), its thread panics (`panic`), or the step fails (`enospc`, `eio`). In
//! release builds nothing of this exists.

use std::io;

/// Visit a failpoint.
#[cfg(debug_assertions)]
pub(crate) fn visit(name: &str) -> io::Result<()> {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Armed {
        name: String,
        action: String,
        at: u32,
        visits: AtomicU32,
    }
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("WALMGR_FAILPOINT").ok()?;
        let (name, action) = text.split_once('=')?;
        let (action, at) = action.split_once('@').unwrap_or((action, "1"));
        Some(Armed {
            name: name.to_owned(),
            action: action.to_owned(),
            at: at.parse().ok()?,
            visits: AtomicU32::new(0),
        })
    });
    let Some(armed) = armed.as_ref().filter(|armed| armed.name == name) else { return Ok(()) };
    if armed.visits.fetch_add(1, Ordering::Relaxed) + 1 != armed.at {
        return Ok(());
    }
    match armed.action.as_str() {
        "kill" => {
            use rustix::process::{Signal, getpid, kill_process};
            kill_process(getpid(), Signal::KILL)?;
            // The signal is on its way; do not take another step.
            loop {
                std::thread::park();
            }
        }
        "stop" => loop {
            std::thread::park();
        },
        "pause" => {
            use rustix::process::{Signal, getpid, kill_process};
            Ok(kill_process(getpid(), Signal::STOP)?)
        }
        "panic" => std::panic::resume_unwind(Box::new("failpoint")),
        "enospc" => Err(rustix::io::Errno::NOSPC.into()),
        "eio" => Err(rustix::io::Errno::IO.into()),
        other => Err(io::Error::other(format!("unknown failpoint action \"{other}\""))),
    }
}

/// Visit a failpoint: nothing in release builds.
#[cfg(not(debug_assertions))]
#[inline]
pub(crate) fn visit(_name: &str) -> io::Result<()> {
    Ok(())
}
