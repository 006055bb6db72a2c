//! Signals: SIGINT finishes the batch, SIGTERM stops before the next event, SIGHUP asks for a
//! reload. They are registered once in a process; what runs changes behind them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgq_client::{Error, Stop};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::work::command;

/// What the signals have asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What runs now.
    run: Stop,
    reload: bool,
    end: Option<End>,
}

/// How the program is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    AfterBatch,
    Now,
}

impl State {
    /// Tell what runs now.
    fn pass_on(&self) {
        match self.end {
            Some(End::Now) => self.run.now(),
            Some(End::AfterBatch) => self.run.after_batch(),
            None if self.reload => self.run.after_batch(),
            None => {}
        }
    }
}

impl Asked {
    /// What stops the next run. It is stopped from the start when a signal came before it.
    pub(crate) fn next_run(&self) -> Stop {
        let mut state = self.lock();
        state.run = Stop::new();
        state.pass_on();
        state.run.clone()
    }

    /// True once after each SIGHUP. Never when the program is to end: that wins, whichever signal
    /// came first.
    pub(crate) fn take_reload(&self) -> bool {
        let mut state = self.lock();
        std::mem::take(&mut state.reload) && state.end.is_none()
    }

    /// A reload was asked for.
    pub(super) fn reload(&self) {
        let mut state = self.lock();
        state.reload = true;
        state.pass_on();
    }

    /// An end was asked for.
    fn end(&self, end: End) {
        let mut state = self.lock();
        state.end = state.end.max(Some(end));
        state.pass_on();
    }

    /// Finish the batch, then end.
    #[cfg(test)]
    pub(super) fn end_after_batch(&self) {
        self.end(End::AfterBatch);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stop a command by signals from now on. SIGHUP is SIGINT's like.
///
/// # Errors
/// [`Error::Io`] when there can be no handlers.
pub(crate) fn stop_by(stop: &Stop) -> Result<(), Error> {
    register(Asked(Arc::new(Mutex::new(State { run: stop.clone(), ..State::default() }))), false)
        .map(drop)
}

/// What signals ask a service for. Call it once in a process. A command that runs may finish; a
/// second SIGINT or SIGTERM kills it, and a second SIGINT within a second ends the program at once.
/// SIGHUP ends the run after its batch with the reload mark set, when `reloads`; else it stops.
///
/// # Errors
/// [`Error::Io`] when there can be no handlers.
pub(crate) fn of_service(reloads: bool) -> Result<Asked, Error> {
    register(Asked::default(), reloads)
}

fn register(asked: Asked, reloads: bool) -> Result<Asked, Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|source| Error::Io { path: "signal handlers".into(), source })?;
    let heard = asked.clone();
    std::thread::spawn(move || {
        let mut last_interrupt: Option<Instant> = None;
        let mut stops = false;
        for signal in &mut signals {
            if signal == SIGHUP && reloads {
                heard.reload();
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
                heard.end(End::AfterBatch);
            } else {
                heard.end(End::Now);
            }
        }
    });
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::{Asked, End};

    #[test]
    fn an_end_wins_over_a_reload_whichever_came_first() {
        for end in [End::AfterBatch, End::Now] {
            for reload_first in [true, false] {
                let asked = Asked::default();
                let run = asked.next_run();
                assert!(!run.is_requested());
                if reload_first {
                    asked.reload();
                    asked.end(end);
                } else {
                    asked.end(end);
                    asked.reload();
                }
                assert!(run.is_requested() && !asked.take_reload(), "{end:?} {reload_first}");
                assert_eq!(run.is_now(), end == End::Now);
            }
        }
    }

    #[test]
    fn what_is_asked_for_between_two_runs_meets_the_next() {
        let asked = Asked::default();
        asked.next_run();
        asked.reload();
        assert!(asked.take_reload() && !asked.take_reload());
        assert!(!asked.next_run().is_requested(), "a reload is taken once");
        asked.reload();
        assert!(asked.next_run().is_requested() && asked.take_reload());
        asked.end(End::Now);
        asked.end(End::AfterBatch);
        assert!(asked.next_run().is_now() && !asked.take_reload());
    }
}
