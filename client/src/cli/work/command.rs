//! A shell command that gets events on its standard input.
//!
//! It is a process group of its own: a signal for the consumer, as from a terminal's Ctrl-C, is not
//! for it. After a stop was asked for it may finish what it does, but not for ever.

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgq_client::{Error, Event, HandlerError, OpenBatch, Outcome, Stop};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::line::Form;
use super::words::Words;

/// Exit code that asks for a retry: EX_TEMPFAIL of sysexits.h.
const TEMPORARY_FAILURE: i32 = 75;

/// How long a handler may go on after a stop was asked for, before it is asked to end …
const GRACE: Duration = Duration::from_secs(30);
/// … and how long then, before it is killed.
const LAST_GRACE: Duration = Duration::from_secs(5);

/// How long after a command that ended by a stop's signal the stop itself may take to get here:
/// systemd signals both.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(1);

/// The process group that runs now. It is taken out before its end is collected, while its id
/// cannot be another's.
static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

#[derive(Clone, Copy)]
struct Running {
    group: Pid,
    since: Instant,
}

fn running() -> MutexGuard<'static, Option<Running>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Signal the handler that runs now, if one does.
pub(in crate::cli) fn signal(signal: Signal) {
    if let Some(Running { group, .. }) = *running() {
        let _ = kill_process_group(group, signal);
    }
}

/// A stop was asked for: see to it, from a thread of its own, that no handler holds it up for ever.
pub(in crate::cli) fn bound() {
    let stopped = Instant::now();
    std::thread::spawn(move || {
        let pause = Stop::new();
        loop {
            pause.sleep(Duration::from_millis(100));
            let Some(Running { since, .. }) = *running() else { continue };
            let over = since.max(stopped).elapsed();
            if over >= GRACE + LAST_GRACE {
                signal(Signal::KILL);
            } else if over >= GRACE {
                signal(Signal::TERM);
                pause.sleep(LAST_GRACE);
            }
        }
    });
}

/// A command that handles events.
pub(in crate::cli) struct ShellCommand<'c> {
    command: &'c str,
    stop: &'c Stop,
    form: Form,
}

impl<'c> ShellCommand<'c> {
    pub(in crate::cli) fn new(command: &'c str, stop: &'c Stop, form: Form) -> Self {
        Self { command, stop, form }
    }

    /// Run it for one event: exit code 0 is done, 75 a retry, all others are failures.
    pub(in crate::cli) fn take_event(&self, event: &Event) -> Result<Outcome, HandlerError> {
        let mut started = Started::new(self.command)?;
        if let Some(mut input) = started.child.stdin.take() {
            // A command that does not read its input is judged by its exit code all the same.
            ignore_closed_pipe(writeln!(input, "{}", self.form.line(event)))?;
        }
        let (status, words) = started.end()?;
        if status.code() == Some(TEMPORARY_FAILURE) {
            self.say(&words);
            return Err(format!("{}: asked for a retry", self.command).into());
        }
        self.judge(status, &words)?;
        Ok(Outcome::Done)
    }

    /// Run it once for all events of a batch.
    pub(in crate::cli) fn take_batch(
        &self,
        batch: &mut OpenBatch<'_, '_>,
    ) -> Result<(), HandlerError> {
        let mut started = Started::new(self.command)?;
        if let Some(input) = started.child.stdin.take() {
            let mut input = std::io::BufWriter::with_capacity(1 << 16, input);
            while let Some(page) = batch.next_page()? {
                for event in &page {
                    ignore_closed_pipe(writeln!(input, "{}", self.form.line(event)))?;
                }
            }
            ignore_closed_pipe(input.flush())?;
        }
        let (status, words) = started.end()?;
        self.judge(status, &words)
    }

    fn judge(&self, status: ExitStatus, words: &str) -> Result<(), HandlerError> {
        if status.success() {
            self.say(words);
            return Ok(());
        }
        if by_stop_signal(status) {
            self.stop.sleep(SIGNAL_PATIENCE);
        }
        refuse_unusable(self.command, status, words)?;
        let from = words.len().saturating_sub(500);
        let from =
            (from..words.len()).find(|at| words.is_char_boundary(*at)).unwrap_or(words.len());
        Err(format!("{}: {status}: {}", self.command, words[from..].trim()).into())
    }

    fn say(&self, words: &str) {
        if !words.is_empty() {
            log::info!("{}: {}", self.command, words.trim_end());
        }
    }
}

/// The shell's exit codes for a command that is not there, or may not be run: no event is to blame,
/// and none will fare better.
fn refuse_unusable(command: &str, status: ExitStatus, words: &str) -> Result<(), Error> {
    match status.code() {
        Some(code @ (126 | 127)) => Err(Error::NoCommand {
            what: format!("{command}: {status}: {}", words.trim()),
            denied: code == 126,
        }),
        _ => Ok(()),
    }
}

/// True for the end by a signal that stops services, of the shell or, as the shell tells it, of
/// what it ran.
fn by_stop_signal(status: ExitStatus) -> bool {
    [Signal::HUP, Signal::INT, Signal::TERM].iter().any(|signal| {
        let number = signal.as_raw();
        status.signal() == Some(number) || status.code() == Some(128 + number)
    })
}

/// A command that runs.
struct Started {
    child: Child,
    /// Its messages are read beside, or it would block on a full pipe while we block on its input.
    words: Option<Words>,
    collected: bool,
    /// It was stopped, for good, when it turned to the terminal, which is ours.
    wants_terminal: bool,
}

impl Started {
    fn new(command: &str) -> Result<Self, HandlerError> {
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot run a shell: {error}"))?;
        *running() = Some(Running { group: Pid::from_child(&child), since: Instant::now() });
        let words = child.stderr.take().map(Words::of).transpose()?;
        Ok(Self { child, words, collected: false, wants_terminal: false })
    }

    /// Wait for its end: how it ended, and what it said.
    fn end(mut self) -> Result<(ExitStatus, String), HandlerError> {
        let status = self.collect()?;
        let mut words = self.words.take().map(Words::end).unwrap_or_default();
        if self.wants_terminal {
            words.push_str("it wants to use the terminal, which a handler cannot");
        }
        Ok((status, words))
    }

    fn collect(&mut self) -> std::io::Result<ExitStatus> {
        self.collected = true;
        let _ = self.child.stdin.take();
        let id = WaitId::Pid(Pid::from_child(&self.child));
        let (ended, stopped) = (WaitIdOptions::EXITED, WaitIdOptions::STOPPED);
        loop {
            match waitid(id.clone(), ended | stopped | WaitIdOptions::NOWAIT) {
                Err(error) if error == rustix::io::Errno::INTR => {}
                Ok(Some(status)) if status.stopped() => {
                    let _ = waitid(id.clone(), stopped | WaitIdOptions::NOHANG);
                    let terminal = [Signal::TTIN, Signal::TTOU].map(Signal::as_raw);
                    if status.stopping_signal().is_some_and(|signal| terminal.contains(&signal)) {
                        self.wants_terminal = true;
                        signal(Signal::KILL);
                    }
                }
                _ => break,
            }
        }
        *running() = None;
        self.child.wait()
    }
}

impl Drop for Started {
    /// Given up in the middle, because the rest of the batch could not be read: nobody waits for
    /// its verdict.
    fn drop(&mut self) {
        if !self.collected {
            signal(Signal::TERM);
            let _ = self.collect();
        }
    }
}

fn ignore_closed_pipe(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
