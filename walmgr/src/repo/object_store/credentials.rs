//! Credentials that end, and are got again before they do; and files with secrets.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::error::{Error, Result};
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

/// Credentials of one source, kept until shortly before they end.
pub(crate) struct Cached<T> {
    source: Source<T>,
    current: Mutex<Option<Current<T>>>,
}

struct Current<T> {
    held: Expiring<T>,
    renew_at: Option<SystemTime>,
}

impl<T: Clone> Cached<T> {
    /// Nothing is asked yet.
    pub(crate) fn new(source: Source<T>) -> Self {
        Self { source, current: Mutex::new(None) }
    }

    /// The credentials; with `renew`, others than before where there are.
    ///
    /// # Errors
    /// Those of the source, once there are none that are still good.
    pub(crate) fn get(&self, renew: bool) -> Result<T> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        if let Some(current) = current.as_ref()
            && !renew
            && current.renew_at.is_none_or(|at| now < at)
        {
            return Ok(current.held.value.clone());
        }
        match (self.source)() {
            Ok(held) => {
                let value = held.value.clone();
                let renew_at = held.until.map(|until| {
                    let left = until.duration_since(now).unwrap_or_default();
                    until - AHEAD.min(left / 4)
                });
                *current = Some(Current { held, renew_at });
                Ok(value)
            }
            Err(error) => match current.as_mut() {
                Some(old) if !renew && old.held.until.is_none_or(|until| now < until) => {
                    log::warning(format_args!("old credentials are used for now: {error}"));
                    old.renew_at = Some(now + PAUSE);
                    Ok(old.held.value.clone())
                }
                _ => Err(error),
            },
        }
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
    if metadata.permissions().mode() & 0o007 != 0 {
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
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime};

    use super::{Cached, Expiring};
    use crate::error::Error;

    static CALLS: AtomicU64 = AtomicU64::new(0);

    fn cached(seconds: u64, good: u64) -> Cached<u64> {
        let calls = AtomicU64::new(0);
        Cached::new(Box::new(move || {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            CALLS.fetch_add(1, Ordering::Relaxed);
            if call < good {
                Ok(Expiring::within(call, seconds))
            } else {
                Err(Error::Failed("no".into()))
            }
        }))
    }

    #[test]
    fn what_is_good_is_kept_and_what_the_store_refuses_is_got_anew() {
        let keys = cached(3600, 2);
        assert_eq!((keys.get(false).unwrap(), keys.get(false).unwrap()), (0, 0));
        assert_eq!(keys.get(true).unwrap(), 1);
        assert!(keys.get(true).is_err(), "what was refused is not given again");
        assert_eq!(keys.get(false).unwrap(), 1);
    }

    #[test]
    fn what_has_ended_is_never_given() {
        let keys = cached(0, 2);
        assert_eq!((keys.get(false).unwrap(), keys.get(false).unwrap()), (0, 1));
        assert!(keys.get(false).is_err());
    }

    #[test]
    fn what_ends_soon_stays_while_there_is_nothing_else() {
        let keys = cached(3600, 1);
        keys.get(false).unwrap();
        let soon = SystemTime::now() - Duration::from_secs(1);
        keys.current.lock().unwrap().as_mut().unwrap().renew_at = Some(soon);
        assert_eq!(keys.get(false).unwrap(), 0);
        let at = keys.current.lock().unwrap().as_ref().unwrap().renew_at.unwrap();
        assert!(at > SystemTime::now(), "the next attempt has time");
    }
}
