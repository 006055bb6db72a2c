//! Options of `restore` and `createslave` that say where things go that lie outside of the data
//! directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::backup::info::BackupInfo;
use crate::backup::name;
use crate::error::{Error, Result};
use crate::restore::place::{Existing, Place};

/// The options.
#[derive(Debug, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Put a tablespace elsewhere.
    #[arg(long, value_name = "OID=DIR")]
    tablespace_map: Vec<String>,
    /// Put every other tablespace that lies outside of the data directory into DIR/OID.
    #[arg(long, value_name = "DIR")]
    tablespace_map_all: Option<PathBuf>,
    /// Put a directory that a link of the data directory led to elsewhere, and make the link lead
    /// there; pg_wal also where it was no link.
    #[arg(long, value_name = "LINK=DIR")]
    link_map: Vec<String>,
    /// Put tablespaces, and what links of the data directory led to, where they were, although
    /// nothing on this host says that this is right.
    #[arg(long)]
    original_places: bool,
}

impl PlaceArgs {
    /// Where a backup goes.
    ///
    /// # Errors
    /// [`Error::Usage`] for maps of what is not there, or to where nothing can be.
    pub(crate) fn place(
        &self,
        info: &BackupInfo,
        data: PathBuf,
        existing: Existing,
    ) -> Result<Place> {
        let (tablespaces, mapped) = self.tablespaces(info, &data)?;
        Ok(Place {
            tablespaces,
            mapped,
            links: self.links(&data)?,
            original_places: self.original_places,
            existing,
            own_directory: format!("PG_{}_", info.pg_version),
            data,
        })
    }

    /// Where each tablespace goes: where it was, unless the operator says otherwise; and those of
    /// which the operator does.
    fn tablespaces(
        &self,
        info: &BackupInfo,
        data: &Path,
    ) -> Result<(BTreeMap<String, PathBuf>, BTreeSet<String>)> {
        let mut places = BTreeMap::new();
        let mut mapped = BTreeSet::new();
        for (oid, text) in &info.tablespaces {
            let was = name::to_path(text).unwrap_or_default();
            let place = match &self.tablespace_map_all {
                Some(directory) if was.is_absolute() => {
                    mapped.insert(oid.clone());
                    absolute(directory)?.join(oid)
                }
                // One inside the data directory is inside of this one.
                _ => data.join(was),
            };
            places.insert(oid.clone(), place);
        }
        for entry in &self.tablespace_map {
            let (oid, place) = split(entry, "OID=DIR")?;
            let slot = places.get_mut(oid).ok_or_else(|| {
                Error::Usage(format!("the backup has no tablespace with oid {oid}"))
            })?;
            *slot = absolute(place)?.to_owned();
            mapped.insert(oid.to_owned());
        }
        Ok((places, mapped))
    }

    /// Where links shall lead.
    fn links(&self, data: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
        let mut links = BTreeMap::new();
        for entry in &self.link_map {
            let (link, place) = split(entry, "LINK=DIR")?;
            let place = absolute(place)?;
            if !name::is_plain(link) || link.starts_with("pg_tblspc") {
                return Err(Error::Usage(format!(
                    "\"{link}\" is no link below the data directory (tablespaces: --tablespace-map)"
                )));
            }
            if place.starts_with(data) || data.starts_with(place) {
                return Err(Error::Usage(format!(
                    "{} is not outside of the data directory",
                    place.display()
                )));
            }
            if links.insert(PathBuf::from(link), place.to_owned()).is_some() {
                return Err(Error::Usage(format!("{link} is mapped twice")));
            }
        }
        Ok(links)
    }
}

fn split<'a>(entry: &'a str, form: &str) -> Result<(&'a str, &'a Path)> {
    entry
        .split_once('=')
        .map(|(name, place)| (name.trim_end_matches('/'), Path::new(place)))
        .ok_or_else(|| Error::Usage(format!("\"{entry}\" is not of the form {form}")))
}

fn absolute(place: &Path) -> Result<&Path> {
    if place.is_absolute() {
        return Ok(place);
    }
    Err(Error::Usage(format!("\"{}\" is not absolute", place.display())))
}
