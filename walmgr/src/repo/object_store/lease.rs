//! Locks in an object store: an object that its holder renews, and that counts for nothing once it
//! is no longer renewed.
//!
//! An exclusive lock is the object of its name; a shared one is an object of the holder's own below
//! it. Each side first writes its object and then looks for the other, so of two that come at once
//! at least one sees the other and gives way. Ages are measured by the store's clock alone.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::log;
use crate::repo::object_store::bucket::{self, Bucket, Write, put_new};
use crate::repo::{Created, Lock, LockMode, SMALL};

/// How often a holder renews its object, and for how long that is good.
const RENEW: Duration = Duration::from_secs(30);
const GOOD_FOR: i64 = 180;

/// A lock, renewed by a thread until it is dropped.
pub(super) struct Lease {
    bucket: Arc<dyn Bucket>,
    key: String,
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl Lock for Lease {}

impl Lease {
    /// Take a lock, or say who has it.
    pub(super) fn take(bucket: &Arc<dyn Bucket>, key: &str, mode: LockMode) -> Result<Self> {
        let shared = format!("{key}.shared");
        let own = match mode {
            LockMode::Exclusive => key.to_owned(),
            LockMode::Shared => format!("{shared}/{}", own_name()),
        };
        let holder = own_name();
        if put_new(bucket.as_ref(), &own, holder.as_bytes(), Write::New)? == Created::Exists {
            if is_alive(bucket.as_ref(), &own)? {
                return Err(held(bucket.as_ref(), &own));
            }
            log::warning(format_args!("lock {own} was left behind; it is taken over"));
            bucket.delete(&own)?;
            if put_new(bucket.as_ref(), &own, holder.as_bytes(), Write::New)? == Created::Exists {
                return Err(held(bucket.as_ref(), &own));
            }
        }
        // From here on, dropping the lease removes the object.
        let lease = Self::renewed(Arc::clone(bucket), own, holder);
        match mode {
            LockMode::Exclusive => {
                for name in bucket::list(bucket.as_ref(), &format!("{shared}/"))? {
                    let other = format!("{shared}/{name}");
                    if is_alive(bucket.as_ref(), &other)? {
                        return Err(held(bucket.as_ref(), &other));
                    }
                    bucket.delete(&other)?;
                }
            }
            LockMode::Shared if is_alive(bucket.as_ref(), key)? => {
                return Err(held(bucket.as_ref(), key));
            }
            LockMode::Shared => {}
        }
        Ok(lease)
    }

    fn renewed(bucket: Arc<dyn Bucket>, key: String, holder: String) -> Self {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let (renewing, name, flag) = (Arc::clone(&bucket), key.clone(), Arc::clone(&ended));
        std::thread::spawn(move || {
            let (mutex, changed) = &*flag;
            let mut ended = mutex.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                ended =
                    changed.wait_timeout(ended, RENEW).unwrap_or_else(PoisonError::into_inner).0;
                if *ended {
                    return;
                }
                // Held while renewing, so that the end of the lease cannot be followed by a
                // renewal.
                if let Err(error) = renewing.put(&name, holder.as_bytes(), Write::Over) {
                    log::warning(format_args!("lock {name} was not renewed: {error}"));
                }
            }
        });
        Self { bucket, key, ended }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (mutex, changed) = &*self.ended;
        *mutex.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if let Err(error) = self.bucket.delete(&self.key) {
            log::warning(format_args!("lock {} stays until it is too old: {error}", self.key));
        }
    }
}

/// A name that nobody else has.
pub(super) fn own_name() -> String {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let nanos = Timestamp::now().as_nanosecond();
    format!("{host}-{}-{}-{nanos}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed))
}

fn held(bucket: &dyn Bucket, key: &str) -> Error {
    let holder = bucket.get(key, None, SMALL).ok().flatten().unwrap_or_default();
    Error::Locked(format!("lock {key} is held by {}", String::from_utf8_lossy(&holder)))
}

/// True while somebody renews the object.
fn is_alive(bucket: &dyn Bucket, key: &str) -> Result<bool> {
    let Some(head) = bucket.head(key)? else { return Ok(false) };
    // When in doubt, it is.
    Ok(head.age.is_none_or(|age| age < GOOD_FOR))
}
