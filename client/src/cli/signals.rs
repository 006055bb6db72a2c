//! Signals: SIGINT finishes the batch, SIGTERM stops before the next event, SIGHUP asks for a
//! reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgq_client::{Error, Stop};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::work::command;

/// What the signals have asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    reload: Arc<AtomicBool>,
}

impl Asked {
    /// True once after each SIGHUP.
    pub(crate) fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::SeqCst)
    }
}

/// Stop by signals from now on. A command that runs may finish; a second SIGINT or SIGTERM kills
/// it, and a second SIGINT within a second ends the program at once. SIGHUP ends the run after its
/// batch with the reload mark set, when `reloads`; else it stops.
pub(crate) fn handle(stop: &Stop, reloads: bool) -> Result<Asked, Error> {
    let asked = Asked::default();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|source| Error::Io { path: "signal handlers".into(), source })?;
    let (stop, reload) = (stop.clone(), Arc::clone(&asked.reload));
    std::thread::spawn(move || {
        let mut last_interrupt: Option<Instant> = None;
        let mut stops = false;
        for signal in &mut signals {
            if signal == SIGHUP && reloads {
                reload.store(true, Ordering::SeqCst);
                stop.after_batch();
                continue;
            }
            if stops {
                command::signal(Signal::KILL);
            } else {
                command::bound();
            }
            stops = true;
            let interrupt = signal == SIGINT;
            if interrupt && last_interrupt.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
                std::process::exit(1);
            }
            if interrupt && last_interrupt.is_none() {
                last_interrupt = Some(Instant::now());
                stop.after_batch();
            } else {
                stop.now();
            }
        }
    });
    Ok(asked)
}
