//! Taking over what walmgr3 left: WAL of `logs.complete`, base backups `data.master*`.
//!
//! Everything is read, held against the same rules as what a server archives or a backup copies,
//! and stored anew. The old files are never changed or removed, and what is already in the
//! repository is found again, so an adoption can be repeated at any time.

pub(crate) mod base;
pub(crate) mod label;
pub(crate) mod layout;
pub(crate) mod settings;
pub(crate) mod tablespaces;
pub(crate) mod wal;

use crate::error::{Error, Result};
use crate::log;

/// What was left out, and why; nothing is left out silently.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Of each thing that was left out, the reason.
    reasons: Vec<Error>,
}

impl Refused {
    /// Note that something is left out. Trouble with the repository is not about the one thing, and
    /// ends everything.
    ///
    /// # Errors
    /// [`Error::Repository`], passed through.
    pub(crate) fn add(&mut self, what: &str, why: Error) -> Result<()> {
        if let Error::Repository { .. } = why {
            return Err(why);
        }
        log::warning(format_args!("{what} is left out: {why}"));
        self.reasons.push(why);
        Ok(())
    }

    /// The outcome of the whole.
    ///
    /// # Errors
    /// One of the worst kind, when anything was left out.
    pub(crate) fn outcome(self) -> Result<()> {
        let text = format!("{} things were left out, see the warnings", self.reasons.len());
        let has = |code| self.reasons.iter().any(|reason| reason.exit_code() == code);
        match () {
            () if self.reasons.is_empty() => Ok(()),
            () if has(5) => Err(Error::Mismatch(text)),
            () if has(6) => Err(Error::Corrupt(text)),
            () => Err(Error::Failed(text)),
        }
    }
}
