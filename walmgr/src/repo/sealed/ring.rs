//! The keys of a repository: `walmgr.keys/repository.json` says that it is encrypted and whose keys
//! count, `walmgr.keys/ID.json` each is a [`Slot`].

use serde::{Deserialize, Serialize};

use super::master::{Master, hex};
use super::secret::Secret;
use super::settings::Encryption;
use super::slot::Slot;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::repo::{KEYS, Lock, LockMode, PARTS, Store, create_small, read_all};

const MARKER: &str = "walmgr.keys/repository.json";
const LOCK: &str = "walmgr.keys/locks/keys";
/// More keys than anybody has, and no more than a client should look at and try.
const MOST: usize = 64;

/// What says that a repository is encrypted.
#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
    repository: String,
    cipher: String,
}

/// The identity of an encrypted repository; `None` for one that is not.
pub(crate) fn repository(store: &dyn Store) -> Result<Option<String>> {
    let Some(text) = read_all(store, MARKER)? else { return Ok(None) };
    let marker: Marker = serde_json::from_slice(&text)
        .map_err(|error| Error::Corrupt(format!("{MARKER} is damaged: {error}")))?;
    if marker.format != 1 {
        return Err(Error::Key(format!("{MARKER} has a format that this walmgr does not know")));
    }
    Ok(Some(marker.repository))
}

/// The keys of a repository.
#[derive(Default)]
pub(crate) struct Keys {
    /// Those that can be tried, by name.
    pub(crate) slots: Vec<Slot>,
    /// Names of those that cannot, each with what is wrong with it.
    pub(crate) useless: Vec<(String, String)>,
}

/// Look at all keys. One that is damaged, or of a newer walmgr, keeps nobody from the others.
pub(crate) fn keys(store: &dyn Store, repository: &str) -> Result<Keys> {
    let mut keys = Keys::default();
    for (at, id) in ids(store)?.into_iter().enumerate() {
        if at >= MOST {
            keys.useless.push((id, format!("no more than {MOST} keys are looked at")));
            continue;
        }
        match slot(store, &id) {
            // Of a setup that came too late, if it is of another repository.
            Ok(found) => keys.slots.extend(found.filter(|slot| slot.repository == repository)),
            Err(error @ (Error::Corrupt(_) | Error::Key(_))) => {
                keys.useless.push((id, error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(keys)
}

/// Names of all keys, whatever is in them.
fn ids(store: &dyn Store) -> Result<Vec<String>> {
    let names = store.list(KEYS)?;
    let ids = names.iter().filter_map(|name| name.strip_suffix(".json"));
    Ok(ids.filter(|id| *id != "repository").map(str::to_owned).collect())
}

fn name(id: &str) -> String {
    format!("{KEYS}/{id}.json")
}

fn slot(store: &dyn Store, id: &str) -> Result<Option<Slot>> {
    let key = name(id);
    // Gone, if somebody removes keys just now.
    read_all(store, &key)?.map(|text| Slot::parse(&key, id, &text)).transpose()
}

/// Find the key that a secret is, and open it.
pub(super) fn find(
    store: &dyn Store,
    repository: &str,
    secret: &Secret,
) -> Result<Option<(Master, Slot)>> {
    if let Some(id) = secret.id() {
        let Some(slot) = slot(store, &id)?.filter(|slot| slot.repository == repository) else {
            return Ok(None);
        };
        // It has the name of this key, so it is not a wrong key that does not fit.
        let damaged = || Error::Corrupt(format!("{} is damaged", name(&id)));
        let master = slot.open(secret)?.ok_or_else(damaged)?;
        return Ok(Some((master, slot)));
    }
    let mut keys = keys(store, repository)?;
    for slot in keys.slots {
        match slot.open(secret) {
            Ok(Some(master)) => return Ok(Some((master, slot))),
            Ok(None) => {}
            Err(error @ Error::Corrupt(_)) => keys.useless.push((slot.id, error.to_string())),
            Err(error) => return Err(error),
        }
    }
    match keys.useless.first() {
        None => Ok(None),
        // It may be the one that the passphrase was for.
        Some((_, why)) => Err(Error::Corrupt(format!(
            "the passphrase opens none of the keys that are whole, and there are others: {why}"
        ))),
    }
}

/// Open the repository's key with what the settings name; also the key that it was.
///
/// # Errors
/// [`Error::Key`].
pub(crate) fn open(store: &dyn Store, settings: &Encryption) -> Result<(Master, Slot)> {
    let Some(repository) = repository(store)? else {
        return Err(Error::Key(format!(
            "repository {} is not encrypted, and repository.encryption is set: an encrypted one is \
             made by walmgr setup, in a new place",
            store.describe()
        )));
    };
    let secret = Secret::of(settings)?;
    match find(store, &repository, &secret)? {
        Some(found) => Ok(found),
        None => Err(wrong(store, &repository, &secret)?),
    }
}

/// What to say to who has another key.
fn wrong(store: &dyn Store, repository: &str, secret: &Secret) -> Result<Error> {
    let place = store.describe();
    let keys = keys(store, repository)?;
    if keys.slots.is_empty() && keys.useless.is_empty() {
        return Ok(Error::Key(format!(
            "repository {repository} in {place} is encrypted, and no key of it is left in \
             {KEYS}: bring back a copy of its files there; nothing can be read without"
        )));
    }
    let whole = keys.slots.iter().map(|slot| match slot.label.as_str() {
        "" => format!("{} ({})", slot.id, slot.kind.word()),
        label => format!("{} ({}, {label})", slot.id, slot.kind.word()),
    });
    let useless = keys.useless.iter().map(|(id, _)| format!("{id} (damaged)"));
    let has: Vec<String> = whole.chain(useless).collect();
    let given = match secret.id() {
        Some(id) => format!("key {id}"),
        None => "the passphrase".to_owned(),
    };
    Ok(Error::Key(format!(
        "repository {repository} in {place} does not open to {given}; its keys are: {}. Name one of \
         them in repository.encryption, or have who owns one add yours (walmgr key add); nothing \
         is damaged, but nothing can be read without one of them",
        has.join(", ")
    )))
}

/// Make an empty repository encrypted, or open the one that is.
pub(super) fn init(store: &dyn Store, settings: &Encryption) -> Result<Master> {
    if repository(store)?.is_some() {
        return open(store, settings).map(|(master, _)| master);
    }
    // Not the files that walmgr has at the top beside stanzas.
    let other =
        |name: &&String| name.strip_suffix('/').is_some_and(|name| name != KEYS && name != PARTS);
    if let Some(stanza) = store.list("")?.iter().find(other) {
        return Err(Error::Key(format!(
            "repository {} is not encrypted and has content ({stanza}): encryption is chosen when a \
             repository is made, so name a new place",
            store.describe()
        )));
    }
    let secret = Secret::of(settings)?;
    // A setup that was killed here has left a key, but nothing that it encrypts.
    let left = match secret.id() {
        Some(id) => slot(store, &id)?,
        None => None,
    };
    let opened = left.map(|slot| slot.open(&secret)).transpose()?.flatten();
    let master = match opened {
        Some(master) => master,
        None => {
            let master = Master::random()?;
            add(store, &master, &secret, "made with the repository", None)?.0
        }
    };
    let step = Error::repository(format!("write {MARKER}"));
    failpoint::visit("key.first").map_err(step)?;
    let marker = Marker {
        format: 1,
        repository: hex(&master.id()),
        cipher: "AES-256-GCM-STREAM-64K".to_owned(),
    };
    let text =
        serde_json::to_vec_pretty(&marker).map_err(|error| Error::Failed(error.to_string()))?;
    create_small(store, MARKER, &text)?;
    store.settle(MARKER)?;
    // Whoever else was making it may have been first; then this is the way to its key or its error.
    open(store, settings).map(|(master, _)| master)
}

/// Add a key, and see that it opens. That which is there already stays.
///
/// # Errors
/// Anything but the certainty that it opens.
pub(super) fn add(
    store: &dyn Store,
    master: &Master,
    secret: &Secret,
    label: &str,
    replaces: Option<String>,
) -> Result<(Master, Slot)> {
    let slot = Slot::wrap(master, secret, label, replaces)?;
    let key = name(&slot.id);
    create_small(store, &key, &slot.text()?)?;
    store.settle(&key)?;
    let stored = self::slot(store, &slot.id)?;
    let opened = stored.map(|slot| Ok::<_, Error>((slot.open(secret)?, slot))).transpose()?;
    match opened {
        Some((Some(master), slot)) => Ok((master, slot)),
        _ => Err(Error::Corrupt(format!("{key} does not open to the key it was just made for"))),
    }
}

/// Remove a key, whatever is in it; false when there is none of the name.
pub(super) fn remove(store: &dyn Store, id: &str) -> Result<bool> {
    let is_there = ids(store)?.iter().any(|other| other == id);
    if is_there {
        store.remove(&name(id))?;
    }
    Ok(is_there)
}

/// Keep others from changing keys.
pub(super) fn lock(store: &dyn Store) -> Result<Box<dyn Lock>> {
    store.lock(LOCK, LockMode::Exclusive)
}
