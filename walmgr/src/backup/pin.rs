//! Pins: backups that no rule removes. `backup/ID.pin.N` is one; the greatest N counts.
//!
//! Objects are never changed, so another end or reason is another pin, made before the old one is
//! removed: whatever is killed in between, the backup stays pinned.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::repo::mark::Mark;
use crate::repo::stanza::Stanza;
use crate::repo::{Created, create_small, read_all};

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// When it was set.
    pub(crate) since: Timestamp,
    /// When it ends; never by itself when there is no such time.
    pub(crate) until: Option<Timestamp>,
    /// The operator's words.
    pub(crate) reason: String,
}

impl Pin {
    /// True before it has ended.
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The backup that a mark in the directory of backups belongs to.
pub(crate) fn owner(name: &str) -> Option<&str> {
    Mark::parse(name).map(|(id, _)| id)
}

/// What the marks in the directory of backups say.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    numbers: BTreeMap<String, Vec<u32>>,
    standalone: Vec<String>,
}

impl Marks {
    /// From the names in the directory.
    pub(crate) fn of(names: &[String]) -> Self {
        let mut marks = Self::default();
        for (id, mark) in names.iter().filter_map(|name| Mark::parse(name)) {
            match mark {
                Mark::Pin(number) => marks.numbers.entry(id.to_owned()).or_default().push(number),
                Mark::Standalone => marks.standalone.push(id.to_owned()),
            }
        }
        marks
    }

    /// True when only the WAL of its own is left of a backup's.
    pub(crate) fn is_standalone(&self, id: &str) -> bool {
        self.standalone.iter().any(|other| other == id)
    }

    /// A backup's pin.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it cannot be read: nobody knows then whether the backup may go.
    pub(crate) fn pin(&self, stanza: &Stanza, id: &str) -> Result<Option<Pin>> {
        let Some(number) = self.numbers.get(id).and_then(|numbers| numbers.iter().max()) else {
            return Ok(None);
        };
        let key = key(stanza, id, *number);
        // Another walmgr may have removed it since.
        let Some(bytes) = read_all(stanza.store.as_ref(), &key)? else { return Ok(None) };
        let pin = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Corrupt(format!("{key}: {error}")))?;
        Ok(Some(pin))
    }
}

fn key(stanza: &Stanza, id: &str, number: u32) -> String {
    stanza.key(&format!("backup/{}", Mark::Pin(number).name(id)))
}

/// Numbers of a backup's pins, ascending.
fn numbers(stanza: &Stanza, id: &str) -> Result<Vec<u32>> {
    let names = stanza.store.list(&stanza.key("backup"))?;
    let mut numbers = Marks::of(&names).numbers.remove(id).unwrap_or_default();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Pin a backup; a pin that it has is replaced.
///
/// # Errors
/// [`Error::Locked`] when somebody else pins it at the same time.
pub(crate) fn set(stanza: &Stanza, id: &str, pin: &Pin) -> Result<()> {
    let text = serde_json::to_vec_pretty(pin).map_err(|error| Error::Failed(error.to_string()))?;
    let before = numbers(stanza, id)?;
    let number = before.last().map_or(Some(1), |last| last.checked_add(1));
    let number = number.ok_or_else(|| {
        Error::Failed(format!(
            "backup {id} has a pin that none can follow: walmgr unpin {id} first"
        ))
    })?;
    let key = key(stanza, id, number);
    match create_small(stanza.store.as_ref(), &key, &text)? {
        Created::New => {}
        Created::Exists => {
            return Err(Error::Locked(format!("backup {id} is being pinned by somebody else")));
        }
    }
    remove_all(stanza, id, &before)
}

/// Take a backup's pins away; false when it has none.
pub(crate) fn remove(stanza: &Stanza, id: &str) -> Result<bool> {
    let numbers = numbers(stanza, id)?;
    remove_all(stanza, id, &numbers)?;
    Ok(!numbers.is_empty())
}

/// The oldest first: an interruption leaves the one that counts.
fn remove_all(stanza: &Stanza, id: &str, numbers: &[u32]) -> Result<()> {
    numbers.iter().try_for_each(|number| stanza.store.remove(&key(stanza, id, *number)))
}

/// The key, below the stanza, of what says that only the WAL of its own is left of a backup's.
pub(crate) fn standalone_key(id: &str) -> String {
    format!("backup/{}", Mark::Standalone.name(id))
}

/// Note for ever that only the WAL of its own is left of a backup's. Said before the rest goes, so
/// that nobody takes that for a loss.
pub(crate) fn mark_standalone(stanza: &Stanza, id: &str) -> Result<()> {
    let key = stanza.key(&standalone_key(id));
    let text = "The WAL after this backup was expired: it restores to its own end only.\n";
    create_small(stanza.store.as_ref(), &key, text.as_bytes()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::{Marks, owner};

    #[test]
    fn marks_are_told_from_what_they_stand_beside() {
        let names = ["a.json", "a.manifest", "a.pin.9", "a.pin.10", "b.standalone", "b.pin.x"];
        let marks = Marks::of(&names.map(str::to_owned));
        assert_eq!(marks.numbers["a"], [9, 10]);
        assert!(marks.is_standalone("b") && !marks.is_standalone("a"));
        assert!(!marks.numbers.contains_key("b"));
        assert_eq!(names.map(owner), [None, None, Some("a"), Some("a"), Some("b"), None]);
    }
}
