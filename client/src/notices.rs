//! What the server says beside its answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postgres::error::{DbError, Severity};

/// Logs notices. What a wait says is news to whoever waits in vain, and is logged as a warning,
/// once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices {
    wait: Arc<Mutex<Wait>>,
}

#[derive(Debug, Default)]
struct Wait {
    lasts: bool,
    /// What has been logged since there was a batch.
    said: Vec<String>,
}

/// That a statement waits.
pub(crate) struct Waits<'n>(&'n Notices);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.lock().lasts = false;
    }
}

impl Notices {
    pub(crate) fn hear(&self, notice: &DbError) {
        let message = notice.message();
        let mut wait = self.lock();
        let level = match notice.parsed_severity() {
            Some(Severity::Notice | Severity::Warning) if wait.lasts => {
                if wait.said.iter().any(|said| said == message) {
                    return;
                }
                wait.said.push(message.to_owned());
                log::Level::Warn
            }
            // The answer says so as well, and becomes Error::BatchGone.
            Some(Severity::Warning) if message.starts_with("finish_batch: batch") => {
                log::Level::Debug
            }
            Some(Severity::Warning) => log::Level::Warn,
            _ => log::Level::Debug,
        };
        drop(wait);
        match notice.hint() {
            Some(hint) => log::log!(level, "server: {message}; hint: {hint}"),
            None => log::log!(level, "server: {message}"),
        }
    }

    /// Run a statement that waits.
    pub(crate) fn while_waiting<T>(&self, wait: impl FnOnce() -> T) -> T {
        let _waits = self.wait();
        wait()
    }

    /// A statement waits as long as this lives.
    pub(crate) fn wait(&self) -> Waits<'_> {
        self.lock().lasts = true;
        Waits(self)
    }

    /// There is a batch: what was wrong is over.
    pub(crate) fn forget(&self) {
        self.lock().said.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Wait> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
