//! Credentials that end, and are got again before they do; and files with secrets.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::flight::Flight;
use crate::log;

/// How long before their end credentials are got anew. Of short ones the last quarter.
const AHEAD: Duration = Duration::from_secs(300);

/// How long after a failure the old ones are used before the next attempt.
const PAUSE: Duration = Duration::from_secs(10);

/// Credentials and their end.
#[derive(Clone)]
pub(crate) struct Expiring<T> {
    /// What signs.
    pub(crate) value: T,
    /// `None` for never.
    pub(crate) until: Option<SystemTime>,
}

impl<T> Expiring<T> {
    /// Credentials that never end.
    pub(crate) fn forever(value: T) -> Self {
        Self { value, until: None }
    }

    /// Credentials that end at a time in RFC 3339.
    pub(crate) fn until(value: T, end: &str) -> Result<Self> {
        let parsed = end.parse::<Timestamp>().ok();
        let seconds = parsed.and_then(|end| u64::try_from(end.as_second()).ok());
        let seconds = seconds
            .ok_or_else(|| Error::Failed("credentials end at what is no time".to_owned()))?;
        Ok(Self { value, until: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)) })
    }

    /// Credentials that end after so many seconds.
    pub(crate) fn within(value: T, seconds: u64) -> Self {
        let year = 366 * 86_400;
        Self { value, until: Some(SystemTime::now() + Duration::from_secs(seconds.min(year))) }
    }
}

/// Gets credentials.
pub(crate) type Source<T> = Box<dyn Fn() -> Result<Expiring<T>> + Send + Sync>;

/// Credentials of one source, kept until shortly before they end, for all who use them.
pub(crate) struct Cached<T> {
    source: Source<T>,
    current: Mutex<Option<Current<T>>>,
    getting: Flight<Given<T>>,
}

struct Current<T> {
    held: Expiring<T>,
    /// How many there were before.
    number: u64,
    renew_at: Option<SystemTime>,
}

/// Credentials, and which they are.
type Given<T> = (T, u64);

impl<T: Clone> Cached<T> {
    /// Nothing is asked yet.
    pub(crate) fn new(source: Source<T>) -> Arc<Self> {
        Arc::new(Self { source, current: Mutex::new(None), getting: Flight::new() })
    }

    /// For one request.
    pub(crate) fn user(&self) -> User<'_, T> {
        User { cached: self, number: Cell::new(None) }
    }

    /// Others than those that the store refused.
    fn get(&self, refused: Option<u64>) -> Result<Given<T>> {
        loop {
            // Nobody waits for new ones while the old ones are good.
            if let Some(given) = self.held(refused, self.getting.is_under_way()) {
                return Ok(given);
            }
            let given = self.getting.join(|| self.ask(refused))?;
            // Else they were refused before those who brought them were gone.
            if Some(given.1) != refused {
                return Ok(given);
            }
        }
    }

    /// What is there and need not be got anew; with `to_the_end`, what has not ended.
    fn held(&self, refused: Option<u64>, to_the_end: bool) -> Option<Given<T>> {
        let current = self.lock();
        let current = current.as_ref().filter(|current| Some(current.number) != refused)?;
        let end = if to_the_end { current.held.until } else { current.renew_at };
        let is_good = end.is_none_or(|end| SystemTime::now() < end);
        is_good.then(|| (current.held.value.clone(), current.number))
    }

    fn ask(&self, refused: Option<u64>) -> Result<Given<T>> {
        // Somebody may have got them just now.
        if let Some(given) = self.held(refused, false) {
            return Ok(given);
        }
        let now = SystemTime::now();
        match (self.source)() {
            Ok(held) => {
                let renew_at = held.until.map(|until| {
                    let left = until.duration_since(now).unwrap_or_default();
                    until - AHEAD.min(left / 4)
                });
                let mut current = self.lock();
                let number = current.as_ref().map_or(0, |old| old.number + 1);
                let given = (held.value.clone(), number);
                *current = Some(Current { held, number, renew_at });
                Ok(given)
            }
            Err(error) => {
                let given = self.held(refused, true).ok_or_else(|| error.again())?;
                log::warning(format_args!("old credentials are used for now: {error}"));
                if let Some(current) = self.lock().as_mut() {
                    current.renew_at = Some(now + PAUSE);
                }
                Ok(given)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Current<T>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Uses credentials for one request, which may take several attempts.
pub(crate) struct User<'a, T> {
    cached: &'a Cached<T>,
    /// Those of the last attempt.
    number: Cell<Option<u64>>,
}

impl<T: Clone> User<'_, T> {
    /// The credentials; with `renew`, others than the store has just refused.
    ///
    /// # Errors
    /// Those of the source, once there are none that are still good.
    pub(crate) fn get(&self, renew: bool) -> Result<T> {
        let refused = self.number.get().filter(|_| renew);
        let (value, number) = self.cached.get(refused)?;
        self.number.set(Some(number));
        Ok(value)
    }
}

/// Credentials that services give, for all stores of a process: a daemon opens one for each file,
/// and services count how often they are asked.
pub(crate) struct Shared<T> {
    by_source: Mutex<BTreeMap<String, Arc<Cached<T>>>>,
}

impl<T: Clone> Shared<T> {
    /// Of none.
    pub(crate) const fn new() -> Self {
        Self { by_source: Mutex::new(BTreeMap::new()) }
    }

    /// Those of a source, which has a name of all that it is asked with.
    pub(crate) fn of(&self, name: &str, source: impl FnOnce() -> Source<T>) -> Arc<Cached<T>> {
        let mut known = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = known.entry(name.to_owned()).or_insert_with(|| Cached::new(source()));
        Arc::clone(cached)
    }
}

/// Read a file with a secret, without white space around.
///
/// # Errors
/// [`Error::Usage`] with its name.
pub(crate) fn read_secret(file: &Path) -> Result<String> {
    use std::os::unix::fs::PermissionsExt;
    let usage = |error: std::io::Error| Error::Usage(format!("{}: {error}", file.display()));
    let metadata = std::fs::metadata(file).map_err(usage)?;
    // A daemon reads it again and again.
    static WARNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let warned = || WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if metadata.permissions().mode() & 0o007 != 0 && warned().insert(file.to_owned()) {
        log::warning(format_args!(
            "{} holds a secret and is open to everybody: chmod o= it",
            file.display()
        ));
    }
    Ok(std::fs::read_to_string(file).map_err(usage)?.trim().to_owned())
}

/// The first of these variables that is set to something.
pub(crate) fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, SystemTime};

    use super::{Cached, Expiring, Shared, Source};
    use crate::error::Error;

    /// Gives 0, 1 and so on, before it fails.
    fn source(seconds: u64, good: u64) -> Source<u64> {
        let calls = AtomicU64::new(0);
        Box::new(move || {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            if call < good {
                Ok(Expiring::within(call, seconds))
            } else {
                Err(Error::Failed("no".into()))
            }
        })
    }

    fn cached(seconds: u64, good: u64) -> Arc<Cached<u64>> {
        Cached::new(source(seconds, good))
    }

    #[test]
    fn what_is_good_is_kept_and_what_the_store_refuses_is_got_anew() {
        let keys = cached(3600, 2);
        let (one, other) = (keys.user(), keys.user());
        assert_eq!((one.get(false).unwrap(), other.get(false).unwrap()), (0, 0));
        assert_eq!(one.get(true).unwrap(), 1);
        assert_eq!(other.get(true).unwrap(), 1, "the other's were refused, and there are new ones");
        assert!(one.get(true).is_err(), "what was refused is not given again");
        assert_eq!(keys.user().get(false).unwrap(), 1);
    }

    #[test]
    fn what_has_ended_is_never_given() {
        let keys = cached(0, 2);
        let user = keys.user();
        assert_eq!((user.get(false).unwrap(), user.get(false).unwrap()), (0, 1));
        assert!(user.get(false).is_err());
    }

    #[test]
    fn what_ends_soon_stays_while_there_is_nothing_else() {
        let keys = cached(3600, 1);
        keys.user().get(false).unwrap();
        let soon = SystemTime::now() - Duration::from_secs(1);
        keys.current.lock().unwrap().as_mut().unwrap().renew_at = Some(soon);
        assert_eq!(keys.user().get(false).unwrap(), 0);
        let at = keys.current.lock().unwrap().as_ref().unwrap().renew_at.unwrap();
        assert!(at > SystemTime::now(), "the next attempt has time");
    }

    /// What eight threads get at once, each by a store that it opens.
    fn at_once(shared: &Shared<u64>, good: u64) -> BTreeSet<(u64, Option<u64>)> {
        let all = Mutex::new(BTreeSet::new());
        let all_have_one = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let keys = shared.of("a role", || source(3600, good));
                    let user = keys.user();
                    let first = user.get(false).unwrap();
                    all_have_one.wait();
                    all.lock().unwrap().insert((first, user.get(true).ok()));
                });
            }
        });
        all.into_inner().unwrap()
    }

    #[test]
    fn many_threads_and_stores_ask_once() {
        let shared = Shared::new();
        assert_eq!(at_once(&shared, 3), BTreeSet::from([(0, Some(1))]));
        assert_eq!(at_once(&shared, 3), BTreeSet::from([(1, Some(2))]));
        let other = shared.of("another role", || source(3600, 1));
        assert_eq!(other.user().get(false).unwrap(), 0);
    }

    #[test]
    fn nobody_waits_for_new_ones_while_the_old_ones_are_good() {
        let (begin, begun) = std::sync::mpsc::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let (calls, may_go_on) = (AtomicU64::new(0), Mutex::new(may_go_on));
        let keys = Cached::new(Box::new(move || {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            if call > 0 {
                begin.send(()).unwrap();
                may_go_on.lock().unwrap().recv().unwrap();
            }
            Ok(Expiring::within(call, 3600))
        }));
        keys.user().get(false).unwrap();
        let soon = SystemTime::now() - Duration::from_secs(1);
        keys.current.lock().unwrap().as_mut().unwrap().renew_at = Some(soon);
        std::thread::scope(|scope| {
            let renewing = scope.spawn(|| keys.user().get(false));
            begun.recv().unwrap();
            assert_eq!(keys.user().get(false).unwrap(), 0);
            go_on.send(()).unwrap();
            assert_eq!(renewing.join().unwrap().unwrap(), 1);
        });
        assert_eq!(keys.user().get(false).unwrap(), 1);
    }

    #[test]
    fn a_failure_is_not_kept() {
        let shared = Shared::new();
        let works = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let of = || {
            let works = Arc::clone(&works);
            shared.of("a role", move || {
                Box::new(move || match works.load(Ordering::Relaxed) {
                    true => Ok(Expiring::forever(7)),
                    false => Err(Error::Failed("no".into())),
                })
            })
        };
        assert!(of().user().get(false).is_err());
        works.store(true, Ordering::Relaxed);
        assert_eq!(of().user().get(false).unwrap(), 7);
    }
}
