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
use crate::repo::{Created, Lock, LockMode, SMALL, lost};

/// How often a holder renews its object, and for how long that is good; and what is left of that
/// when the holder believes in it.
const RENEW: Duration = Duration::from_secs(30);
const GOOD_FOR: i64 = 180;
const LEFT: i64 = 60;

/// A lock, renewed by a thread until it is dropped.
pub(super) struct Lease {
    bucket: Arc<dyn Bucket>,
    key: String,
    holder: String,
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl Lock for Lease {
    fn check(&mut self) -> Result<()> {
        if !is_held_by(self.bucket.as_ref(), &self.key, &self.holder)? {
            return Err(lost(&self.key, "it was not renewed in time, and is another's now"));
        }
        let age = self.bucket.head(&self.key)?.map(|head| head.age);
        match age {
            None => Err(lost(&self.key, "its object is gone")),
            Some(Some(age)) if age >= GOOD_FOR - LEFT => {
                Err(lost(&self.key, &format!("it was not renewed for {age} s")))
            }
            Some(_) => Ok(()),
        }
    }
}

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
        let own = holder.clone();
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
                if let Err(error) = renew(renewing.as_ref(), &name, &own) {
                    log::warning(format_args!("lock {name} was not renewed: {error}"));
                }
            }
        });
        Self { bucket, key, holder, ended }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (mutex, changed) = &*self.ended;
        *mutex.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        let is_own = is_held_by(self.bucket.as_ref(), &self.key, &self.holder);
        let removed = is_own.and_then(|is_own| match is_own {
            true => self.bucket.delete(&self.key),
            false => Ok(()),
        });
        if let Err(error) = removed {
            log::warning(format_args!("lock {} stays until it is too old: {error}", self.key));
        }
    }
}

/// Renew a lease, unless it was too old for somebody, who has taken it over.
fn renew(bucket: &dyn Bucket, key: &str, holder: &str) -> Result<()> {
    match is_held_by(bucket, key, holder)? {
        true => bucket.put(key, holder.as_bytes(), Write::Over).map(|_| ()),
        false => Err(lost(key, "it is another's now")),
    }
}

fn is_held_by(bucket: &dyn Bucket, key: &str, holder: &str) -> Result<bool> {
    Ok(bucket.get(key, None, SMALL)?.is_some_and(|there| there == holder.as_bytes()))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::{GOOD_FOR, Lease, renew};
    use crate::error::Result;
    use crate::repo::object_store::bucket::{Bucket, Head, Outcome, Page, Write};
    use crate::repo::{Lock, LockMode};

    /// Small objects with their ages.
    #[derive(Default)]
    struct Memory(Mutex<BTreeMap<String, (Vec<u8>, i64)>>);

    impl Memory {
        fn set(&self, key: &str, body: &str, age: i64) {
            self.0.lock().unwrap().insert(key.to_owned(), (body.into(), age));
        }

        fn age(&self, key: &str, age: i64) {
            self.0.lock().unwrap().get_mut(key).unwrap().1 = age;
        }

        fn has(&self, key: &str) -> Option<String> {
            let all = self.0.lock().unwrap();
            all.get(key).map(|(body, _)| String::from_utf8_lossy(body).into_owned())
        }
    }

    impl Bucket for Memory {
        fn describe(&self) -> String {
            "memory".to_owned()
        }
        fn endpoint(&self) -> String {
            "memory".to_owned()
        }
        fn section(&self) -> &'static str {
            "s3"
        }
        fn put(&self, key: &str, body: &[u8], how: Write) -> Result<Outcome> {
            let mut all = self.0.lock().unwrap();
            if how != Write::Over && all.contains_key(key) {
                return Ok(Outcome::Taken);
            }
            all.insert(key.to_owned(), (body.to_owned(), 0));
            Ok(Outcome::Done)
        }
        fn get(&self, key: &str, _: Option<(u64, u64)>, _: u64) -> Result<Option<Vec<u8>>> {
            Ok(self.0.lock().unwrap().get(key).map(|(body, _)| body.clone()))
        }
        fn head(&self, key: &str) -> Result<Option<Head>> {
            let age = self.0.lock().unwrap().get(key).map(|(_, age)| *age);
            Ok(age.map(|age| Head { age: Some(age), ..Head::default() }))
        }
        fn delete(&self, key: &str) -> Result<()> {
            self.0.lock().unwrap().remove(key);
            Ok(())
        }
        fn page(&self, prefix: &str, _: Option<&str>) -> Result<Page> {
            let all = self.0.lock().unwrap();
            let names = all.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
            Ok(Page { names, next: None })
        }
        fn begin(&self, _: &str, _: &str, _: Write) -> Result<String> {
            unreachable!("a lease is small")
        }
        fn part(&self, _: &str, _: &str, _: u16, _: &[u8]) -> Result<String> {
            unreachable!("a lease is small")
        }
        fn complete(&self, _: &str, _: &str, _: &[String], _: &str) -> Result<Outcome> {
            unreachable!("a lease is small")
        }
        fn abort(&self, _: &str, _: &str) -> Result<()> {
            unreachable!("a lease is small")
        }
    }

    #[test]
    fn a_lease_that_another_has_taken_over_is_lost_and_left_alone() {
        let memory = Arc::new(Memory::default());
        let bucket: Arc<dyn Bucket> = memory.clone();
        let take = || Lease::take(&bucket, "x", LockMode::Exclusive);
        let mut lease = take().unwrap();
        lease.check().unwrap();
        assert_eq!(take().err().unwrap().exit_code(), 3);
        // As of a process that was stopped for minutes.
        memory.age("x", GOOD_FOR - 10);
        assert_eq!(lease.check().unwrap_err().exit_code(), 4);
        renew(bucket.as_ref(), "x", &lease.holder).unwrap();
        memory.age("x", 0);
        lease.check().unwrap();
        memory.age("x", GOOD_FOR);
        let mut other = take().unwrap();
        let theirs = memory.has("x");
        assert_eq!(lease.check().unwrap_err().exit_code(), 4);
        renew(bucket.as_ref(), "x", &lease.holder).unwrap_err();
        drop(lease);
        assert_eq!(memory.has("x"), theirs, "the other's lease");
        other.check().unwrap();
        drop(other);
        assert_eq!(memory.has("x"), None);
        let mut lease = take().unwrap();
        memory.set("x", "", 0);
        memory.delete("x").unwrap();
        assert_eq!(lease.check().unwrap_err().exit_code(), 4);
    }
}
