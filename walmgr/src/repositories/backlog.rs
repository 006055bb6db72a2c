//! The daemon's care for repositories that are not required: what was acknowledged is copied to
//! them from a required one, by a thread for each, which may be as late as it must.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::context::{Context, Use};
use crate::error::{Error, Result};
use crate::log;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::repositories::copy::{self, What};
use crate::wal::name::WalName;

/// Files that are copied between openings of the stanzas, each of which is a conversation with a
/// store: a stanza may be upgraded, and a disk mounted anew.
const TOGETHER: usize = 64;
/// Names that are remembered; for more, the repositories are compared.
const REMEMBERED: usize = 1024;
/// Pauses after a failure.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The backlog of one repository.
pub(crate) struct Backlog {
    from: Context,
    to: Context,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    names: VecDeque<WalName>,
    /// Names are not all: compare the repositories.
    unknown: bool,
}

impl Backlog {
    /// The backlogs of all that are not required. At first nothing is known of them.
    pub(crate) fn of_all(context: &Context) -> Vec<Self> {
        let repositories = context.each();
        let Some(from) = repositories.iter().find(|one| one.config.repository.required) else {
            return Vec::new();
        };
        let of = |to: &Context| Self {
            from: from.clone(),
            to: to.clone(),
            state: Mutex::new(State { names: VecDeque::new(), unknown: true }),
            changed: Condvar::new(),
        };
        repositories.iter().filter(|one| !one.config.repository.required).map(of).collect()
    }

    /// A file was acknowledged.
    pub(crate) fn add(&self, name: &WalName) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.names.len() < REMEMBERED {
            state.names.push_back(name.clone());
        } else {
            state.names.clear();
            state.unknown = true;
        }
        self.changed.notify_one();
    }

    /// What its thread does, for ever.
    pub(crate) fn work(&self) {
        let mut pause = FIRST;
        let mut said = String::new();
        loop {
            match self.next() {
                Ok(()) => {
                    if !said.is_empty() {
                        let name = self.to.repository();
                        log::notice(format_args!("repository \"{name}\" takes WAL again"));
                    }
                    (pause, said) = (FIRST, String::new());
                }
                Err(error) => {
                    let text = error.in_repository(self.to.repository()).to_string();
                    // Once, not each minute.
                    if text != said {
                        log::warning(format_args!("{text}; its backlog waits"));
                        said = text;
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST);
                }
            }
        }
    }

    /// Wait for something to do, and do it. What fails is still to be done.
    fn next(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.names.is_empty() && !state.unknown {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.unknown {
            // Names that come from now on are looked at after it.
            *state = State::default();
            drop(state);
            return copy::copy(&self.from, &self.to, What::Backlog).map(drop).inspect_err(|_| {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.unknown = true;
            });
        }
        drop(state);
        let (source, target) = (self.from.stanza()?, self.to.stanza()?);
        let target = self.to.limited(target, Use::Archive);
        target.check_system(source.info.system_identifier)?;
        for _ in 0..TOGETHER {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(name) = state.names.front().cloned() else { break };
            drop(state);
            copy_file(&source, &target, &name)?;
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.names.front() == Some(&name) {
                state.names.pop_front();
            }
        }
        Ok(())
    }
}

fn copy_file(source: &Stanza, target: &Stanza, name: &WalName) -> Result<()> {
    let keys = match name {
        // Their keys have a hash.
        WalName::Partial(_) => {
            let found = wal::beside_segments(source)?.into_iter();
            found.filter(|(other, _)| other == name).map(|(_, key)| key).collect()
        }
        _ => vec![wal::key(source, name)],
    };
    let top = source.key("");
    for key in keys {
        let rest = key.strip_prefix(&top).expect("it is a key of this stanza");
        match copy::wal_file(source, target, name, rest) {
            // Expired meanwhile.
            Err(Error::NotFound(_)) => {}
            // The next comparison will say so again; the others must not wait for it.
            Err(Error::Corrupt(why)) => log::error(Error::Corrupt(why)),
            outcome => drop(outcome?),
        }
    }
    Ok(())
}
