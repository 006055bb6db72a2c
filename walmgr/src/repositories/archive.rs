//! The archive as a server gets it: the backups of one repository, and the WAL of all of them.
//!
//! `archive-get` reads from whichever repository has a file, so whether and where a recovery from
//! one repository's backup would end is judged by what all of them have together.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::history::History;
use crate::history::load;
use crate::history::timelines::Timelines;
use crate::log;
use crate::repo::Source;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::wal::name::WalName;

/// One repository's backups, and everybody's WAL.
pub(crate) struct Archive<'a> {
    /// The one whose backups they are.
    stanza: &'a Stanza,
    /// The others, with their timelines, in the order in which they are asked for WAL.
    others: Vec<(Context, Stanza, Timelines)>,
    /// What the first has said that did not answer.
    silence: Option<Error>,
    /// The own one has all that was acknowledged.
    is_required: bool,
}

impl<'a> Archive<'a> {
    /// Look at the repositories beside a context's own, whose stanza is given.
    pub(crate) fn of(context: &Context, stanza: &'a Stanza) -> Self {
        let is_required = context.config.repository.required;
        let mut archive = Self { stanza, others: Vec::new(), silence: None, is_required };
        for one in context.each() {
            if one.repository() == context.repository() {
                continue;
            }
            let opened = one.stanza().and_then(|there| {
                let there = there.of(stanza.info.system_identifier)?;
                let timelines = load::timelines(&there)?;
                Ok((there, timelines))
            });
            match opened {
                Ok((there, timelines)) => archive.others.push((one, there, timelines)),
                // It has nothing of this system.
                Err(Error::Mismatch(why)) => {
                    log::debug(Error::Mismatch(why).in_repository(one.repository()));
                }
                Err(error) => archive.miss(&one, error),
            }
        }
        archive
    }

    fn miss(&mut self, one: &Context, error: Error) {
        let error = error.in_repository(one.repository());
        log::debug(&error);
        self.silence.get_or_insert(error);
    }

    /// Timelines and backups, without WAL.
    ///
    /// # Errors
    /// As [`History::load_readable`]; [`Error::Mismatch`] when two repositories have different
    /// timelines of one number: a server would get now the one, now the other.
    pub(crate) fn history(&self) -> Result<History> {
        let mut history = History::load_readable(self.stanza)?;
        for (one, _, timelines) in &self.others {
            history.add_timelines(timelines).map_err(|timeline| {
                Error::Mismatch(format!(
                    "timeline {timeline} in repository \"{}\" is another one than elsewhere: two servers \
                     have archived, and --repo says whose archive is meant",
                    one.repository()
                ))
            })?;
        }
        Ok(history)
    }

    /// List the segments from a number on, of all timelines.
    ///
    /// # Errors
    /// [`Error::Repository`], of the own repository.
    pub(crate) fn load_wal(&mut self, history: &mut History, from: u64) -> Result<()> {
        history.load_wal(self.stanza, from)?;
        for (one, there, timelines) in std::mem::take(&mut self.others) {
            match history.load_wal(&there, from) {
                Ok(()) => self.others.push((one, there, timelines)),
                Err(error) => self.miss(&one, error),
            }
        }
        Ok(())
    }

    /// Open a WAL file where it is; its key.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is nowhere.
    pub(crate) fn open(&self, name: &WalName) -> Result<(Box<dyn Source>, String)> {
        let others = self.others.iter().map(|(_, there, _)| there);
        let mut failure = None;
        for stanza in std::iter::once(self.stanza).chain(others) {
            let key = wal::key(stanza, name);
            match stanza.store.open(&key) {
                Ok(Some(source)) => return Ok((source, key)),
                Ok(None) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| Error::Corrupt(format!("{name} vanished"))))
    }

    /// Refuse to take WAL that was not seen for WAL that is not there.
    ///
    /// # Errors
    /// That of the repository that did not answer, unless a required one did.
    pub(crate) fn check_seen(&self) -> Result<()> {
        match &self.silence {
            Some(error) if !self.sees_all() => Err(error.again()),
            _ => Ok(()),
        }
    }

    /// A required one has answered everything so far, so that all that was acknowledged is seen.
    fn sees_all(&self) -> bool {
        self.is_required || self.others.iter().any(|(one, ..)| one.config.repository.required)
    }
}
