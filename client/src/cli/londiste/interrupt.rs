//! Signals end a command at once, and what it must not leave is put back first.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use pgq_client::{Error, Stop};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::undo::Undo;
use crate::cli::{Exit, output};

/// How long a statement that was cancelled may take to end: after that its server hangs.
const GRACE: Duration = Duration::from_secs(2);

/// Signals that have come, and what they end.
#[derive(Clone, Default)]
pub(super) struct Interrupts {
    pub(super) stop: Stop,
    pub(super) undo: Undo,
    signal: Arc<AtomicI32>,
}

impl Interrupts {
    /// Listen from now on. Call it once in a process.
    ///
    /// # Errors
    /// [`Error::Io`] when there can be no handlers.
    pub(super) fn listen() -> Result<Self, Error> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
            .map_err(|source| Error::Io { path: "signal handlers".into(), source })?;
        let heard = Self::default();
        let this = heard.clone();
        std::thread::spawn(move || {
            for signal in &mut signals {
                if this.signal.swap(signal, Ordering::SeqCst) != 0 {
                    for rest in this.undo.rest() {
                        log::warn!("not put back; hint: on node {rest}");
                    }
                    std::process::exit(code(signal).into());
                }
                this.end(signal);
            }
        });
        Ok(heard)
    }

    /// Cancel what runs. A server may take no cancel request, or not heed it.
    fn end(&self, signal: i32) {
        let stop = self.stop.clone();
        std::thread::spawn(move || stop.now());
        let undo = self.undo.clone();
        std::thread::spawn(move || {
            std::thread::sleep(GRACE);
            log::warn!("interrupted; a server does not answer");
            undo.back();
            std::process::exit(code(signal).into());
        });
    }

    /// How a command that has ended so ends.
    pub(super) fn end_of(&self, done: anyhow::Result<Exit>) -> anyhow::Result<Exit> {
        let signal = self.signal.load(Ordering::SeqCst);
        match done {
            Err(error) if signal != 0 => {
                output::complain(&error);
                Ok(Exit::Signal(code_of_signal(signal)))
            }
            done => done,
        }
    }
}

fn code(signal: i32) -> u8 {
    128 + code_of_signal(signal)
}

fn code_of_signal(signal: i32) -> u8 {
    u8::try_from(signal).expect("1, 2 and 15 are listened for")
}
