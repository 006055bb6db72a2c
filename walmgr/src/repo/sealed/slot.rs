//! A key of the repository: its key, wrapped for one who has a key file or a passphrase. Small JSON
//! objects below `walmgr.keys/`, one for each key.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::master::{Master, Secret32, derive, hex, random};
use super::secret::Secret;
use crate::error::{Error, Result};

const FORMAT: u32 = 1;
/// Argon2id's cost: 64 MiB, three passes; RFC 9106's second choice with one lane.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
/// What a repository can make a client spend on a passphrase.
const MOST_MEMORY_KIB: u32 = 1 << 20;
const MOST_PASSES: u32 = 16;

/// How the wrapping key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// HKDF of a key.
    Key,
    /// Argon2id of a passphrase.
    Passphrase,
}

impl Kind {
    /// Its name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Passphrase => "passphrase",
        }
    }
}

/// A key of the repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slot {
    format: u32,
    /// What it is called.
    pub(crate) id: String,
    /// Whose key it wraps.
    pub(crate) repository: String,
    /// What opens it.
    pub(crate) kind: Kind,
    /// When it was added.
    pub(crate) created: Timestamp,
    /// Whose or where it is, in words.
    pub(crate) label: String,
    /// The key that it came for; a rotation that was interrupted removes that one later.
    pub(crate) replaces: Option<String>,
    memory_kib: u32,
    passes: u32,
    salt: String,
    nonce: String,
    wrapped: String,
    crc32c: String,
}

impl Slot {
    /// Wrap the repository's key.
    pub(super) fn wrap(
        master: &Master,
        secret: &Secret,
        label: &str,
        replaces: Option<String>,
    ) -> Result<Self> {
        if !is_label(label) {
            return Err(Error::Usage("a label has one line of at most 200 bytes".to_owned()));
        }
        let (mut salt, mut nonce, mut id) = ([0; 16], [0; 12], [0; 8]);
        random(&mut salt)?;
        random(&mut nonce)?;
        random(&mut id)?;
        let (kind, memory_kib, passes) = match secret {
            Secret::Key(_) => (Kind::Key, 0, 0),
            Secret::Passphrase(_) => (Kind::Passphrase, MEMORY_KIB, PASSES),
        };
        let mut slot = Self {
            format: FORMAT,
            id: secret.id().unwrap_or_else(|| hex(&id)),
            repository: hex(&master.id()),
            kind,
            created: Timestamp::now(),
            label: label.to_owned(),
            replaces,
            memory_kib,
            passes,
            salt: STANDARD.encode(salt),
            nonce: STANDARD.encode(nonce),
            wrapped: String::new(),
            crc32c: String::new(),
        };
        let aad = slot.described();
        let wrapped = slot
            .cipher(secret)?
            .encrypt(&Nonce::from(nonce), Payload { msg: master.bytes(), aad: aad.as_bytes() })
            .map_err(|_| Error::Failed("cannot encrypt the repository's key".to_owned()))?;
        slot.wrapped = STANDARD.encode(wrapped);
        slot.crc32c = slot.sum();
        Ok(slot)
    }

    /// Read one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is damaged, whatever key one has; [`Error::Key`] when it is of
    /// another walmgr.
    pub(super) fn parse(key: &str, id: &str, text: &[u8]) -> Result<Self> {
        let corrupt = |why: &str| Error::Corrupt(format!("{key} is damaged: {why}"));
        let slot: Self =
            serde_json::from_slice(text).map_err(|error| corrupt(&error.to_string()))?;
        if slot.format != FORMAT {
            let format = slot.format;
            return Err(Error::Key(format!("{key} has format {format}: a newer walmgr made it")));
        }
        if slot.crc32c != slot.sum() || slot.id != id {
            return Err(corrupt("its text is not what was written"));
        }
        // It is shown to people, and anybody with the storage can write it.
        if !is_label(&slot.label) {
            return Err(corrupt("its label is none"));
        }
        if slot.memory_kib > MOST_MEMORY_KIB || slot.passes > MOST_PASSES {
            return Err(corrupt("trying a passphrase on it would take too much memory or time"));
        }
        Ok(slot)
    }

    /// Its text.
    pub(super) fn text(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|error| Error::Failed(error.to_string()))
    }

    /// The repository's key; `None` if the secret is not the one.
    pub(super) fn open(&self, secret: &Secret) -> Result<Option<Master>> {
        let corrupt = || Error::Corrupt(format!("key {} of the repository is damaged", self.id));
        let matches = matches!(
            (secret, self.kind),
            (Secret::Key(_), Kind::Key) | (Secret::Passphrase(_), Kind::Passphrase)
        );
        if !matches {
            return Ok(None);
        }
        let nonce: [u8; 12] =
            decode(&self.nonce).and_then(|n| n.try_into().ok()).ok_or_else(corrupt)?;
        let wrapped = decode(&self.wrapped).ok_or_else(corrupt)?;
        let aad = self.described();
        let opened = self
            .cipher(secret)?
            .decrypt(&Nonce::from(nonce), Payload { msg: &wrapped, aad: aad.as_bytes() })
            .map(Zeroizing::new);
        let Ok(opened) = opened else { return Ok(None) };
        let mut key = Secret32::default();
        if opened.len() != key.len() {
            return Err(corrupt());
        }
        key.copy_from_slice(&opened);
        let master = Master::new(key);
        if hex(&master.id()) == self.repository { Ok(Some(master)) } else { Err(corrupt()) }
    }

    fn cipher(&self, secret: &Secret) -> Result<Aes256Gcm> {
        let corrupt = || Error::Corrupt(format!("key {} of the repository is damaged", self.id));
        let salt = decode(&self.salt).filter(|salt| salt.len() == 16).ok_or_else(corrupt)?;
        let key = match secret {
            Secret::Key(key) => derive(key.as_slice(), &salt, &["walmgr key 1"]),
            Secret::Passphrase(words) => {
                let params = Params::new(self.memory_kib, self.passes, 1, Some(32))
                    .map_err(|_| corrupt())?;
                let mut key = Secret32::default();
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into(words, &salt, key.as_mut_slice())
                    .map_err(|error| Error::Failed(format!("Argon2id: {error}")))?;
                key
            }
        };
        Ok(Aes256Gcm::new((&*key).into()))
    }

    /// All that is said beside the wrapped key, which authenticates it.
    fn described(&self) -> String {
        format!(
            "walmgr key 1\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n",
            self.id,
            self.repository,
            self.kind.word(),
            self.created,
            self.label,
            self.replaces.as_deref().unwrap_or_default(),
            self.memory_kib,
            self.passes,
            self.salt,
        )
    }

    /// Tells damage from a wrong passphrase.
    fn sum(&self) -> String {
        let text = format!("{}{}\n{}\n", self.described(), self.nonce, self.wrapped);
        format!("{:08x}", crc32c::crc32c(text.as_bytes()))
    }
}

/// One line of text.
fn is_label(label: &str) -> bool {
    label.len() <= 200 && !label.chars().any(char::is_control)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
