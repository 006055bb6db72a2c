//! The repository's key: random, made once, never written but wrapped, and what is derived from it.

use std::sync::Arc;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// 32 secret bytes that are wiped from memory when they are dropped.
pub(super) type Secret32 = Zeroizing<[u8; 32]>;

/// The key that everything in a repository is encrypted with.
#[derive(Clone)]
pub(crate) struct Master {
    key: Arc<Secret32>,
    id: [u8; 8],
}

impl Master {
    /// A new one.
    pub(super) fn random() -> Result<Self> {
        let mut key = Secret32::default();
        random(key.as_mut_slice())?;
        Ok(Self::new(key))
    }

    /// That of these bytes.
    pub(super) fn new(key: Secret32) -> Self {
        let id = id_of(key.as_slice(), "walmgr repository id 1");
        Self { key: Arc::new(key), id }
    }

    /// The bytes, to be wrapped.
    pub(super) fn bytes(&self) -> &[u8] {
        self.key.as_slice()
    }

    /// The repository's identity; says nothing about the key.
    pub(super) fn id(&self) -> [u8; 8] {
        self.id
    }

    /// The key of one object.
    pub(super) fn object_key(&self, salt: &[u8], name: &str) -> Secret32 {
        derive(self.key.as_slice(), salt, &["walmgr object 1\0", name])
    }
}

/// HKDF-SHA-256 of a key.
pub(super) fn derive(key: &[u8], salt: &[u8], info: &[&str]) -> Secret32 {
    let mut derived = Secret32::default();
    let info: Vec<&[u8]> = info.iter().map(|part| part.as_bytes()).collect();
    let expanded =
        Hkdf::<Sha256>::new(Some(salt), key).expand_multi_info(&info, derived.as_mut_slice());
    // 32 bytes are not more than 255 hashes.
    debug_assert!(expanded.is_ok());
    derived
}

/// What a key is called.
pub(super) fn id_of(key: &[u8], purpose: &str) -> [u8; 8] {
    let mut id = [0; 8];
    id.copy_from_slice(derive(key, &[], &[purpose]).get(..8).unwrap_or(&[0; 8]));
    id
}

/// Fill with what nobody can guess.
///
/// # Errors
/// [`Error::Local`] when the system has no randomness.
pub(super) fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| Error::Failed(format!("the system gives no random bytes: {error}")))
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
