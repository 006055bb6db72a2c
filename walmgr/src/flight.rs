//! One gets what several wait for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Whoever comes while somebody gets a thing waits and has the outcome, good or bad. Nothing is
/// kept for those who come later.
pub(crate) struct Flight<T> {
    current: Mutex<Option<Arc<Outcome<T>>>>,
}

struct Outcome<T> {
    is: Mutex<Option<Result<T>>>,
    ready: Condvar,
}

impl<T: Clone> Flight<T> {
    /// Nobody is getting anything.
    pub(crate) const fn new() -> Self {
        Self { current: Mutex::new(None) }
    }

    /// True while somebody is getting it.
    pub(crate) fn is_under_way(&self) -> bool {
        lock(&self.current).is_some()
    }

    /// Get it, or wait for who does.
    ///
    /// # Errors
    /// Those of `get`, also where somebody else called it.
    pub(crate) fn join(&self, get: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut current = lock(&self.current);
        if let Some(outcome) = current.clone() {
            drop(current);
            return outcome.wait();
        }
        let outcome = Arc::new(Outcome { is: Mutex::new(None), ready: Condvar::new() });
        *current = Some(Arc::clone(&outcome));
        drop(current);
        // Also when it panics, nobody waits for ever.
        let landing = Landing { flight: self, outcome };
        let got = get();
        landing.outcome.set(again(&got));
        got
    }
}

impl<T: Clone> Outcome<T> {
    fn wait(&self) -> Result<T> {
        let mut is = lock(&self.is);
        loop {
            match is.as_ref() {
                Some(outcome) => return again(outcome),
                None => is = self.ready.wait(is).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn set(&self, outcome: Result<T>) {
        lock(&self.is).get_or_insert(outcome);
        self.ready.notify_all();
    }
}

struct Landing<'a, T: Clone> {
    flight: &'a Flight<T>,
    outcome: Arc<Outcome<T>>,
}

impl<T: Clone> Drop for Landing<'_, T> {
    fn drop(&mut self) {
        *lock(&self.flight.current) = None;
        self.outcome.set(Err(Error::Failed("the thread that was to get it panicked".to_owned())));
    }
}

fn again<T: Clone>(outcome: &Result<T>) -> Result<T> {
    match outcome {
        Ok(value) => Ok(value.clone()),
        Err(error) => Err(error.again()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Flight, lock};
    use crate::error::{Error, Result};

    /// The outcomes of one thread that gets it, and of three that come meanwhile.
    fn outcomes(
        flight: &Flight<u32>,
        get: impl FnOnce() -> Result<u32> + Send,
    ) -> [Result<u32>; 4] {
        // Of the flight, of who gets it, and of those who wait.
        let all_wait = || lock(&flight.current).as_ref().map(Arc::strong_count) == Some(5);
        std::thread::scope(|scope| {
            let first = scope.spawn(move || {
                flight.join(|| {
                    while !all_wait() {
                        std::thread::yield_now();
                    }
                    get()
                })
            });
            while !flight.is_under_way() {
                std::thread::yield_now();
            }
            let second = || flight.join(|| Err(Error::Failed("a second one got it".into())));
            let others = [scope.spawn(second), scope.spawn(second), scope.spawn(second)];
            let [a, b, c] = others.map(|other| other.join().unwrap());
            [first.join().unwrap(), a, b, c]
        })
    }

    #[test]
    fn who_waits_has_the_outcome_and_who_comes_later_another() {
        let flight = Flight::new();
        assert_eq!(outcomes(&flight, || Ok(7)).map(|got| got.unwrap()), [7; 4]);
        let failed = outcomes(&flight, || Err(Error::Key("no".into())));
        assert_eq!(failed.map(|one| one.unwrap_err().exit_code()), [11; 4]);
        assert!(!flight.is_under_way());
        assert_eq!(flight.join(|| Ok(8)).unwrap(), 8);
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let flight = Flight::<u32>::new();
        let panicked = std::thread::scope(|scope| {
            scope.spawn(|| flight.join(|| panic!("for the test"))).join().is_err()
        });
        assert!(panicked && !flight.is_under_way());
        assert_eq!(flight.join(|| Ok(1)).unwrap(), 1);
    }
}
