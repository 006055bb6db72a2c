//! The directory that a backup is restored into.
//!
//! Files that somebody may need are removed only when `--delta` or `--force` says so, only from
//! what is recognisably a data directory of the same cluster, and never under a running server. All
//! that is there, and all that the backup wants, is looked at before the first change
//! ([`Place::look`]); places outside of the data directory are written to only when the data
//! directory itself, or the operator, says that they are its own.

mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::backup::info::BackupInfo;
use crate::backup::manifest::Manifest;
use crate::backup::name;
use crate::error::{Error, Result};
use crate::log;
use crate::pg::{control, running};
use crate::restore::beneath::Beneath;
use crate::restore::marker::Marker;

/// Permissions that a data directory may have: PostgreSQL refuses others.
const PERMISSIONS: u32 = 0o750;

/// What may happen to files that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// There must be none.
    Refuse,
    /// Keep what is the same.
    Delta,
    /// Remove them first.
    Force,
}

/// A place for a backup.
#[derive(Debug)]
pub(crate) struct Place {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Where tablespaces go, by oid.
    pub(crate) tablespaces: BTreeMap<String, PathBuf>,
    /// Tablespaces whose place the operator has named.
    pub(crate) mapped: BTreeSet<String>,
    /// Where links lead whose place the operator has named, by their paths.
    pub(crate) links: BTreeMap<PathBuf, PathBuf>,
    /// Tablespaces and what links lead to may go where they were: the operator says so.
    pub(crate) original_places: bool,
    /// What may happen to files that are there.
    pub(crate) existing: Existing,
    /// How the names begin of what is this cluster's in a tablespace; the rest is not ours to
    /// remove.
    pub(crate) own_directory: String,
}

/// Where everything goes: what [`Place::look`] has found to be right.
pub(crate) struct Plan {
    /// Directories outside of the data directory, by the paths of the links that lead there.
    outside: BTreeMap<PathBuf, PathBuf>,
    /// Other links that are made: to what is inside, or was not there either.
    links: Vec<(PathBuf, PathBuf)>,
    /// Links to files that stay as they are.
    pub(crate) kept: BTreeSet<String>,
}

/// The directories that are written to, open.
pub(crate) struct Roots {
    roots: Vec<(PathBuf, Beneath)>,
}

impl Roots {
    /// The directory that a path is in, and what is left of the path.
    pub(crate) fn find<'a>(&self, path: &'a Path) -> (&Beneath, &'a Path) {
        let found =
            self.roots.iter().rev().find_map(|(prefix, root)| {
                path.strip_prefix(prefix).ok().map(|below| (root, below))
            });
        // The first has an empty prefix.
        found.unwrap_or_else(|| (&self.roots[0].1, path))
    }

    /// The directory that a link itself is in, and what is left of its path.
    fn holding(&self, link: &Path) -> (&Beneath, PathBuf) {
        let (root, below) = self.find(link.parent().unwrap_or(Path::new("")));
        (root, below.join(link.file_name().unwrap_or_default()))
    }

    /// All of them, the data directory first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Beneath> {
        self.roots.iter().map(|(_, root)| root)
    }
}

impl Place {
    /// Refuse a data directory that must not be written to. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Locked`] under a running server, [`Error::Usage`] for directories that are not
    /// empty, [`Error::Mismatch`] for another cluster's.
    pub(crate) fn check(&self, info: &BackupInfo) -> Result<()> {
        if rustix::process::geteuid().is_root() {
            return Err(Error::Usage(
                "as root the files would be root's: run this as the server's user".to_owned(),
            ));
        }
        if let Some(pid) = running::postmaster(&self.data) {
            return Err(Error::Locked(format!(
                "a server runs in {} (pid {pid})",
                self.data.display()
            )));
        }
        for (oid, directory) in &self.tablespaces {
            if self.existing == Existing::Refuse && !is_empty(directory)? {
                // It may be the running original's: never say that it should be emptied.
                return Err(Error::Usage(format!(
                    "tablespace {oid} would go to {}, which is not empty: --tablespace-map {oid}=DIR puts it elsewhere",
                    directory.display()
                )));
            }
        }
        if is_empty(&self.data)? {
            return Ok(());
        }
        if self.existing == Existing::Refuse {
            return Err(Error::Usage(format!(
                "{} is not empty: --delta keeps what is the same, --force removes everything first",
                self.data.display()
            )));
        }
        let restoring = self.data.join(Marker::NAME).exists();
        if !restoring && !self.data.join("PG_VERSION").exists() {
            return Err(Error::Usage(format!(
                "{} is not a data directory: it is not touched",
                self.data.display()
            )));
        }
        match control::system_identifier(&self.data)? {
            Some(identifier) if identifier.to_string() != info.system_identifier => {
                Err(Error::Mismatch(format!(
                    "{} holds system {identifier}, the backup is of system {}",
                    self.data.display(),
                    info.system_identifier
                )))
            }
            _ => Ok(()),
        }
    }

    /// Look at every place that the restore would write to. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Usage`] for a place outside of the data directory that nothing says to be this
    /// cluster's; [`Error::Locked`] for one that a running server uses.
    pub(crate) fn look(&self, manifest: &Manifest) -> Result<Plan> {
        let marker = Marker::read(&self.data)?;
        let mut plan = Plan { outside: BTreeMap::new(), links: Vec::new(), kept: BTreeSet::new() };
        self.look_at_tablespaces(&marker, &mut plan)?;
        self.look_at_mapped_links(manifest, &marker, &mut plan)?;
        self.look_at_links(manifest, &marker, &mut plan)?;
        self.look_at_servers(&plan)?;
        Ok(plan)
    }

    /// True when a link of the data directory, or of the restore that broke off in it, leads to
    /// this place.
    fn leads_to(&self, marker: &Marker, link: &Path, place: &Path) -> bool {
        let here = self.data.join(link);
        let leads = fs::symlink_metadata(&here).is_ok_and(|meta| meta.is_symlink());
        leads && real(&here) == real(place)
            || marker.place(link).is_some_and(|noted| real(noted) == real(place))
    }

    fn look_at_tablespaces(&self, marker: &Marker, plan: &mut Plan) -> Result<()> {
        let mut strange = Vec::new();
        for (oid, place) in &self.tablespaces {
            let link = Path::new("pg_tblspc").join(oid);
            let known = self.leads_to(marker, &link, place);
            let told = self.mapped.contains(oid) || self.original_places;
            if !known && !told && !place.starts_with(&self.data) {
                strange.push(match fs::read_link(self.data.join(&link)) {
                    Ok(there) => format!(
                        "tablespace {oid} is in {} here, and was in {}",
                        there.display(),
                        place.display()
                    ),
                    Err(_) => format!("tablespace {oid} was in {}", place.display()),
                });
            }
            if !known && self.has_own(place)? {
                return Err(Error::Usage(format!(
                    "{} has a tablespace in it that is not of {}: it is not touched",
                    place.display(),
                    self.data.display()
                )));
            }
            let twice = plan.outside.values().any(|other| real(other) == real(place));
            if twice || real(place) == real(&self.data) {
                return Err(Error::Usage(format!(
                    "{} is the place of something else as well",
                    place.display()
                )));
            }
            plan.outside.insert(link, place.clone());
        }
        if strange.is_empty() {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{}: --tablespace-map OID=DIR says where it goes, --original-places that it goes there again",
            strange.join("; ")
        )))
    }

    /// True when there is a tablespace of this version in a directory.
    fn has_own(&self, place: &Path) -> Result<bool> {
        let what = || Error::local(format!("list {}", place.display()));
        let entries = match fs::read_dir(place) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(what()(error)),
        };
        for entry in entries {
            let name = entry.map_err(what())?.file_name();
            if name.to_string_lossy().starts_with(&self.own_directory) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Links whose place the operator has named.
    fn look_at_mapped_links(
        &self,
        manifest: &Manifest,
        marker: &Marker,
        plan: &mut Plan,
    ) -> Result<()> {
        let is_directory = |link: &str| manifest.directories.iter().any(|(path, _)| path == link);
        let led: BTreeSet<&str> = manifest.links.iter().map(|(link, _)| link.as_str()).collect();
        for (link, place) in &self.links {
            let text = name::to_text(link);
            if !is_directory(&text) || text != "pg_wal" && !led.contains(text.as_str()) {
                let directories: Vec<&str> =
                    led.iter().copied().filter(|link| is_directory(link)).collect();
                return Err(Error::Usage(format!(
                    "{text} was no link to a directory: pg_wal can be mapped, and of this backup {}",
                    if directories.is_empty() {
                        "nothing else".into()
                    } else {
                        directories.join(", ")
                    }
                )));
            }
            if !self.leads_to(marker, link, place) && !is_empty(place)? {
                return Err(Error::Usage(format!(
                    "{text} would go to {}, which is not empty: it is not touched",
                    place.display()
                )));
            }
            // What one removes, or writes, must not be another's.
            let taken = |other: &PathBuf| {
                let (other, place) = (real(other), real(place));
                other.starts_with(&place) || place.starts_with(&other)
            };
            if plan.outside.values().any(taken) || taken(&self.data) {
                return Err(Error::Usage(format!(
                    "{} is the place of something else as well",
                    place.display()
                )));
            }
            plan.outside.insert(link.clone(), place.clone());
        }
        Ok(())
    }

    fn look_at_links(&self, manifest: &Manifest, marker: &Marker, plan: &mut Plan) -> Result<()> {
        // A server's pg_wal stays where this host has it, whatever the backup says.
        let wal = Path::new("pg_wal");
        let here = self.data.join(wal);
        let noted = marker.place(wal).map(Path::to_owned).or_else(|| {
            let leads = fs::symlink_metadata(&here).is_ok_and(|meta| meta.is_symlink());
            leads.then(|| real(&here))
        });
        if let (Some(place), false) = (noted, self.links.contains_key(wal)) {
            plan.outside.insert(wal.to_owned(), place);
        }
        let directories: BTreeSet<&str> =
            manifest.directories.iter().map(|(path, _)| path.as_str()).collect();
        let files: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        for (text, leads) in &manifest.links {
            let (Some(link), Some(target)) = (name::to_path(text), name::to_path(leads)) else {
                continue;
            };
            if link == wal && plan.outside.contains_key(wal) || self.links.contains_key(&link) {
                continue;
            }
            let place = self.data.join(link.parent().unwrap_or(Path::new(""))).join(&target);
            let has_directory = directories.contains(text.as_str());
            if !has_directory && !files.contains(text.as_str()) {
                if stays_inside(&link, &target) || self.original_places {
                    plan.links.push((link, target));
                } else {
                    log::notice(format_args!(
                        "{text} was a link to {leads}, where nothing was: left out"
                    ));
                }
                continue;
            }
            if self.leads_to(marker, &link, &place) {
                if has_directory {
                    plan.outside.insert(link, place);
                } else {
                    plan.kept.insert(text.clone());
                    plan.links.push((link, target));
                }
            } else if self.original_places && has_directory {
                if !is_empty(&place)? {
                    return Err(Error::Usage(format!(
                        "{text} was a link to {}, which is not empty: it is not touched",
                        place.display()
                    )));
                }
                plan.outside.insert(link, place);
            } else {
                log::notice(format_args!(
                    "{text} was a link to {leads}: here it is a plain {}",
                    if has_directory {
                        "directory (--original-places makes it a link)"
                    } else {
                        "file"
                    }
                ));
            }
        }
        Ok(())
    }

    /// No server may run anywhere on the way.
    fn look_at_servers(&self, plan: &Plan) -> Result<()> {
        let data = real(&self.data);
        for server in running::all() {
            let in_use = |place: &Path| {
                Err(Error::Locked(format!(
                    "{} is in use by the server that runs in {} (pid {})",
                    place.display(),
                    server.data.display(),
                    server.pid
                )))
            };
            if data.starts_with(&server.data) || server.data.starts_with(&data) {
                return in_use(&self.data);
            }
            let same_version = fs::read_to_string(server.data.join("PG_VERSION"))
                .is_ok_and(|version| self.own_directory == format!("PG_{}_", version.trim()));
            for (link, place) in &plan.outside {
                let there = real(place);
                // Servers of several versions may have their tablespaces side by side.
                let shared = link.starts_with("pg_tblspc") && !same_version;
                let used = server.places.iter().any(|other| {
                    there == *other && !shared || there.starts_with(other) && there != *other
                });
                if used || there.starts_with(&server.data) {
                    return in_use(place);
                }
            }
            if server.places.iter().any(|other| data.starts_with(other)) {
                return in_use(&self.data);
            }
        }
        Ok(())
    }
}

/// True for the place of a tablespace, `pg_tblspc/OID`.
fn is_tablespace(path: &Path) -> bool {
    path.parent() == Some(Path::new("pg_tblspc"))
}

/// True when a link leads to something in the data directory, wherever that is.
fn stays_inside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    depth > 0
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let mut rest = PathBuf::new();
    let mut here = path;
    loop {
        if let Ok(real) = here.canonicalize() {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
        let (Some(parent), Some(name)) = (here.parent(), here.file_name()) else {
            return path.to_owned();
        };
        rest = if rest.as_os_str().is_empty() { name.into() } else { Path::new(name).join(rest) };
        here = parent;
    }
}

fn open(directory: &Path) -> Result<Beneath> {
    Beneath::open(directory).map_err(Error::local(format!("open {}", directory.display())))
}

fn is_empty(directory: &Path) -> Result<bool> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::local(format!("list {}", directory.display()))(error)),
    }
}

/// Remove a file or link that need not exist.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::local(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Write a file and sync it.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let what = || Error::local(format!("write {}", path.display()));
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(what())?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(what())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{real, stays_inside};

    #[test]
    fn links_that_stay_inside_are_told_from_others() {
        let inside = |link: &str, target: &str| stays_inside(Path::new(link), Path::new(target));
        assert!(inside("base/7", "../other/7"));
        assert!(inside("a", "b/c"));
        for (link, target) in [("a", "../x"), ("base/7", "../../x"), ("a", "/etc"), ("a", ".")] {
            assert!(!inside(link, target), "{link} -> {target}");
        }
    }

    #[test]
    fn paths_are_resolved_as_far_as_they_exist() {
        let top = tempfile::tempdir().unwrap();
        let there = top.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&there, there.join("link")).unwrap();
        assert_eq!(real(&there.join("link/new/dir")), there.join("new/dir"));
        assert_eq!(real(&there.join("link")), there);
    }
}
