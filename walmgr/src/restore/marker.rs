//! The file that says that a restore is under way, or broke off: such a directory cannot be
//! started. It remembers which places outside of the data directory are its own, since the links
//! that say so are made anew.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::backup::name;
use crate::error::{Error, Result};
use crate::plain_file;
use crate::restore::beneath::Beneath;

/// What it says: links and where they lead.
#[derive(Debug, Default)]
pub(crate) struct Marker(BTreeMap<PathBuf, PathBuf>);

impl Marker {
    /// Its name in the data directory.
    pub(crate) const NAME: &str = "walmgr.restoring";

    /// Of a restore that uses these places.
    pub(super) fn new(places: &BTreeMap<PathBuf, PathBuf>) -> Self {
        Self(places.clone())
    }

    /// The one in a data directory; says nothing when there is none.
    pub(super) fn read(data: &Path) -> Result<Self> {
        let path = data.join(Self::NAME);
        let bytes = match plain_file::read(&path, 1 << 20) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Error::local(format!("read {}", path.display()))(error)),
        };
        // A write that broke off says nothing either.
        let texts: BTreeMap<String, String> = serde_json::from_slice(&bytes).unwrap_or_default();
        let path = |text: &String| name::to_path(text);
        let places = texts.iter().filter_map(|(link, place)| Some((path(link)?, path(place)?)));
        Ok(Self(places.collect()))
    }

    /// Where a link leads.
    pub(super) fn place(&self, link: &Path) -> Option<&Path> {
        self.0.get(link).map(PathBuf::as_path)
    }

    /// Write it, durably.
    pub(super) fn write(&self, data: &Beneath) -> Result<()> {
        let what = || Error::local(format!("write {}", data.path.join(Self::NAME).display()));
        let texts: BTreeMap<String, String> = self
            .0
            .iter()
            .map(|(link, place)| (name::to_text(link), name::to_text(place)))
            .collect();
        let bytes = serde_json::to_vec(&texts).map_err(|error| Error::Failed(error.to_string()))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mut file = data.file(Path::new(Self::NAME), flags, 0o600).map_err(what())?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(what())
    }
}
