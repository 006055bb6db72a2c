//! Limits: how much a second goes to the repository or comes from it, and how politely a backup
//! asks for processor and disk.
//!
//! Backup, archiving and restore have a limit each, shared by all threads of a process, so a backup
//! at its limit takes nothing of what archiving may have.

mod bucket;
mod polite;
pub(crate) mod settings;
mod store;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bucket::Bucket;

use crate::size::wide;

pub(crate) use polite::be_polite;
pub(crate) use store::Limited;

/// So many bytes a second, for all threads that have a copy of it.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    bucket: Arc<Mutex<Bucket>>,
    begin: Instant,
}

impl Limiter {
    /// So many bytes a second.
    pub(crate) fn new(rate: u64) -> Self {
        Self { bucket: Arc::new(Mutex::new(Bucket::new(rate))), begin: Instant::now() }
    }

    /// Take bytes, and wait until they are due.
    fn take(&self, bytes: usize) {
        let bytes = wide(bytes);
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = bucket.take(bytes, self.begin.elapsed());
        drop(bucket);
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }
}

/// The limits of a process; what is not set has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limiters {
    /// Of `backup`.
    pub(crate) backup: Option<Limiter>,
    /// Of what stores WAL.
    pub(crate) archive: Option<Limiter>,
    /// Of `restore`.
    pub(crate) restore: Option<Limiter>,
}
