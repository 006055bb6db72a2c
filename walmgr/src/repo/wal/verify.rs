//! Holding a stored WAL file against its hash and its name.

use std::io::{self, Write};

use super::{check_content, limit};
use crate::error::{Error, Result};
use crate::repo::object;
use crate::repo::stanza::Stanza;
use crate::wal::name::WalName;

/// Verify a stored WAL file: hash, header, place.
///
/// # Errors
/// [`Error::Corrupt`], or what kept it from being read.
pub(crate) fn verify(stanza: &Stanza, name: &WalName, key: &str) -> Result<()> {
    verify_tee(stanza, name, key, &mut io::sink())
}

/// The same, passing on the object as it is stored: only after `Ok` it is known to be sound.
///
/// # Errors
/// As [`verify`], and what writing it met.
pub(crate) fn verify_tee(
    stanza: &Stanza,
    name: &WalName,
    key: &str,
    to: &mut dyn Write,
) -> Result<()> {
    let source = stanza
        .store
        .open(key)?
        .ok_or_else(|| Error::NotFound(format!("object {key} does not exist")))?;
    let mut head = Head::default();
    let meta = object::read_tee(source.as_ref(), key, limit(stanza, name), &mut head, to)?;
    check_content(stanza, name, &head.bytes, meta.length)
}

/// Keeps the first bytes of what is written to it.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
}

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (1_usize << 20).saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).expect("there are that many"));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
