//! Stop a consumer from another thread or a signal handler's thread.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgq_connect::Cancel;
use postgres::Client;

use crate::connector::Connector;

const RUNNING: u8 = 0;
const AFTER_BATCH: u8 = 1;
const NOW: u8 = 2;

/// Between cancel requests for the same statement: one that came before it has met none.
const AGAIN: Duration = Duration::from_millis(100);

/// A handle that stops what it was made for. Clones stop the same thing.
#[derive(Clone, Default)]
pub struct Stop {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: AtomicU8,
    waiting: Mutex<Waiting>,
    turns: AtomicU64,
    changed: Condvar,
}

/// Statements that a stop cancels.
#[derive(Default)]
struct Waiting {
    cancels: Vec<Cancel>,
    /// The weakest stop that does.
    from: u8,
    /// Which of the waits it is.
    turn: u64,
    /// A thread sends the cancel requests again until it is over.
    repeated: bool,
}

impl Waiting {
    /// Under the lock, so that the request meets this wait and not the statement after it.
    fn cancel(&self) {
        for error in self.cancels.iter().filter_map(|cancel| cancel.send().err()) {
            log::debug!("cancel request: {error}");
        }
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Stop").field(&self.inner.state.load(Ordering::SeqCst)).finish()
    }
}

impl Stop {
    /// A new handle, not yet asked to stop.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finish the batch at hand, then stop. A wait for events ends at once.
    pub fn after_batch(&self) {
        self.raise(AFTER_BATCH);
    }

    /// Stop before the next event. The batch at hand is given up and comes again, as after a crash.
    pub fn now(&self) {
        self.raise(NOW);
    }

    /// True once either was asked for.
    pub fn is_requested(&self) -> bool {
        self.inner.state.load(Ordering::SeqCst) != RUNNING
    }

    /// True once a stop between events was asked for.
    pub fn is_now(&self) -> bool {
        self.inner.state.load(Ordering::SeqCst) == NOW
    }

    /// Pause, or until stopped. True when stopped.
    pub fn sleep(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        let mut waiting = self.lock();
        while !self.is_requested() {
            let Some(left) = end.checked_duration_since(Instant::now()) else { break };
            waiting = self.wait(waiting, left);
        }
        drop(waiting);
        self.is_requested()
    }

    fn raise(&self, state: u8) {
        self.inner.state.fetch_max(state, Ordering::SeqCst);
        let mut waiting = self.lock();
        self.inner.changed.notify_all();
        if state < waiting.from || waiting.cancels.is_empty() {
            return;
        }
        waiting.cancel();
        if !waiting.repeated {
            waiting.repeated = self.cancel_again(waiting.turn);
        }
    }

    /// Send the cancel requests of a wait again and again until it is over, in a thread of its own.
    /// False where there is none to be had.
    fn cancel_again(&self, turn: u64) -> bool {
        let stop = self.clone();
        let repeat = move || {
            let mut end = Instant::now() + AGAIN;
            let mut waiting = stop.lock();
            while waiting.turn == turn {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    waiting.cancel();
                    end = Instant::now() + AGAIN;
                } else {
                    waiting = stop.wait(waiting, left);
                }
            }
        };
        let thread = std::thread::Builder::new().name("cancel".to_owned()).spawn(repeat);
        if let Err(error) = &thread {
            log::debug!("no thread to send cancel requests again: {error}");
        }
        thread.is_ok()
    }

    /// Do something with a connection that any stop cancels. None, and nothing is done, when a stop
    /// was asked for before.
    pub fn statement<T>(
        &self,
        connector: &Connector,
        client: &mut Client,
        run: impl FnOnce(&mut Client) -> T,
    ) -> Option<T> {
        self.cancellable(connector.cancel(client), || run(client))
    }

    /// Run a statement that waits in the server and may be cancelled by a stop.
    pub(crate) fn cancellable<T>(
        &self,
        cancels: impl IntoIterator<Item = Cancel>,
        wait: impl FnOnce() -> T,
    ) -> Option<T> {
        self.cancellable_from(AFTER_BATCH, cancels, wait)
    }

    /// Run statements that may be cancelled by a stop that does not wait for the batch.
    pub(crate) fn cancellable_now<T>(
        &self,
        cancels: impl IntoIterator<Item = Cancel>,
        wait: impl FnOnce() -> T,
    ) -> Option<T> {
        self.cancellable_from(NOW, cancels, wait)
    }

    fn cancellable_from<T>(
        &self,
        from: u8,
        cancels: impl IntoIterator<Item = Cancel>,
        wait: impl FnOnce() -> T,
    ) -> Option<T> {
        let outer = {
            let mut waiting = self.lock();
            if self.inner.state.load(Ordering::SeqCst) >= from {
                return None;
            }
            let cancels = cancels.into_iter().collect();
            let turn = self.next_turn();
            std::mem::replace(&mut *waiting, Waiting { cancels, from, turn, repeated: false })
        };
        let result = wait();
        // For the thread that repeats requests, the outer wait is another one than it was.
        let turn = self.next_turn();
        *self.lock() = Waiting { turn, repeated: false, ..outer };
        self.inner.changed.notify_all();
        Some(result)
    }

    fn next_turn(&self) -> u64 {
        self.inner.turns.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn wait<'w>(
        &self,
        waiting: MutexGuard<'w, Waiting>,
        at_most: Duration,
    ) -> MutexGuard<'w, Waiting> {
        self.inner
            .changed
            .wait_timeout(waiting, at_most)
            .map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Stop;

    #[test]
    fn a_sleeper_wakes_when_stopped() {
        let stop = Stop::new();
        let other = stop.clone();
        let sleeper = std::thread::spawn(move || other.sleep(Duration::from_secs(3600)));
        stop.after_batch();
        assert!(sleeper.join().unwrap());
        assert!(!stop.is_now());
        stop.now();
        stop.after_batch();
        assert!(stop.is_now(), "a weaker request does not undo a stronger one");
    }
}
