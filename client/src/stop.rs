//! Stop a consumer from another thread or a signal handler's thread.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgq_connect::Cancel;

const RUNNING: u8 = 0;
const AFTER_BATCH: u8 = 1;
const NOW: u8 = 2;

/// A handle that stops what it was made for. Clones stop the same thing.
#[derive(Clone, Default)]
pub struct Stop {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: AtomicU8,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// Statements that a stop cancels.
#[derive(Default)]
struct Waiting {
    cancels: Vec<Cancel>,
    /// The weakest stop that does.
    from: u8,
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
            waiting = self
                .inner
                .changed
                .wait_timeout(waiting, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
        }
        drop(waiting);
        self.is_requested()
    }

    fn raise(&self, state: u8) {
        self.inner.state.fetch_max(state, Ordering::SeqCst);
        let waiting = self.lock();
        self.inner.changed.notify_all();
        // Under the lock, so that the cancel request meets the wait and not the statement after it.
        let cancels = waiting.cancels.iter().filter(|_| state >= waiting.from);
        for error in cancels.filter_map(|cancel| cancel.send().err()) {
            log::debug!("cancel request: {error}");
        }
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
        let new = Waiting { cancels: cancels.into_iter().collect(), from };
        let outer = {
            let mut waiting = self.lock();
            if self.inner.state.load(Ordering::SeqCst) >= from {
                return None;
            }
            std::mem::replace(&mut *waiting, new)
        };
        let result = wait();
        *self.lock() = outer;
        Some(result)
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
