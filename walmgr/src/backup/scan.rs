//! What of a data directory goes into a backup.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use walmgr_protocol::IN_DATA;

use crate::backup::name;
use crate::error::{Error, Result};
use crate::log;

/// Directories whose content the server makes anew; the directories themselves are kept.
const EMPTIED: [&str; 8] = [
    "pg_wal",
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
];

/// Files that belong to a running server or to another backup or restore.
const SKIPPED: [&str; 12] = [
    "postmaster.pid",
    "postmaster.opts",
    "backup_label",
    "backup_label.old",
    "tablespace_map",
    "tablespace_map.old",
    "backup_manifest",
    "current_logfiles",
    "recovery.signal",
    "standby.signal",
    "postgresql.auto.conf.tmp",
    "walmgr.periodic",
];

/// A file to copy.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Path below the data directory.
    pub(crate) path: String,
    /// Where it is.
    pub(crate) place: PathBuf,
    /// Length when it was found.
    pub(crate) size: u64,
    /// Permissions.
    pub(crate) mode: u32,
    /// Time of last change, seconds since 1970.
    pub(crate) mtime: i64,
}

/// All of a cluster's files.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Permissions of the data directory.
    pub(crate) mode: u32,
    /// Directories with their permissions, parents first.
    pub(crate) directories: Vec<(String, u32)>,
    /// Links, but for those of tablespaces, and where they lead.
    pub(crate) links: Vec<(String, String)>,
    /// Files, without `global/pg_control`.
    pub(crate) files: Vec<Found>,
    /// Places of tablespaces by oid, relative when they are inside the data directory.
    pub(crate) tablespaces: BTreeMap<String, String>,
    /// How the names begin of what is this cluster's in a tablespace.
    own_directory: String,
    /// The data directory without links.
    real: PathBuf,
    /// Tablespaces inside the data directory, without links.
    inside: Vec<PathBuf>,
    /// Directories that are being walked through.
    above: Vec<(u64, u64)>,
}

/// How the name of a cluster's own directory in a tablespace begins: clusters of other versions may
/// have theirs beside it.
pub(crate) fn own_directory(data: &Path) -> Result<String> {
    let path = data.join("PG_VERSION");
    let version =
        fs::read_to_string(&path).map_err(Error::local(format!("read {}", path.display())))?;
    Ok(format!("PG_{}_", version.trim()))
}

/// True for the place of a tablespace, `pg_tblspc/OID`.
pub(crate) fn is_tablespace(path: &str) -> bool {
    path.strip_prefix("pg_tblspc/").is_some_and(|rest| !rest.contains('/'))
}

/// Walk a data directory, its tablespaces, and what links of it lead to.
///
/// # Errors
/// [`Error::Local`]; files that vanish meanwhile are no error. [`Error::Failed`] for what a backup
/// cannot hold.
pub(crate) fn scan(data: &Path) -> Result<Scan> {
    let what = || Error::local(format!("look at {}", data.display()));
    let mut scan = Scan {
        mode: fs::metadata(data).map_err(what())?.mode() & 0o7777,
        own_directory: own_directory(data)?,
        real: data.canonicalize().map_err(what())?,
        ..Scan::default()
    };
    scan.inside = tablespaces_inside(data, &scan.real);
    walk(&mut scan, data, Path::new(""))?;
    scan.directories.push(("pg_wal/archive_status".to_owned(), 0o700 | scan.mode & 0o050));
    skip_unlogged(&mut scan.files);
    scan.files.retain(|file| file.path != "global/pg_control");
    // Largest first: threads then finish together.
    scan.files.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
    Ok(scan)
}

/// Tablespaces that lie in the data directory itself: their files are to be stored once.
fn tablespaces_inside(data: &Path, real: &Path) -> Vec<PathBuf> {
    let links = fs::read_dir(data.join("pg_tblspc")).into_iter().flatten().flatten();
    let links = links.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    links
        .filter_map(|entry| entry.path().canonicalize().ok())
        .filter(|place| place.starts_with(real))
        .collect()
}

fn walk(scan: &mut Scan, place: &Path, path: &Path) -> Result<()> {
    let gone = |error: &std::io::Error| {
        error.kind() == ErrorKind::NotFound && !path.as_os_str().is_empty()
    };
    let what = || Error::local(format!("list {}", place.display()));
    let (entries, meta) = match fs::read_dir(place).and_then(|all| Ok((all, place.metadata()?))) {
        Ok(opened) => opened,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(what()(error)),
    };
    let identity = (meta.dev(), meta.ino());
    if scan.above.contains(&identity) {
        return Err(Error::Failed(format!("{} leads back to where it is", place.display())));
    }
    scan.above.push(identity);
    for entry in entries {
        let entry = entry.map_err(what())?;
        visit(scan, &entry.path(), path, &entry.file_name())?;
    }
    scan.above.pop();
    Ok(())
}

fn visit(scan: &mut Scan, place: &Path, parent: &Path, name: &OsStr) -> Result<()> {
    let looked = |result: std::io::Result<Metadata>| match result {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::local(format!("look at {}", place.display()))(error)),
    };
    let below = parent.join(name);
    let path = name::to_text(&below);
    let (is_top, name) = (parent.as_os_str().is_empty(), name.to_string_lossy());
    if is_tablespace(&name::to_text(parent)) && !name.starts_with(&scan.own_directory) {
        return Ok(());
    }
    let is_skipped = |name: &str| SKIPPED.contains(&name) || IN_DATA.contains(&name);
    if is_temporary(&name) || (is_top && is_skipped(&name)) {
        return Ok(());
    }
    let Some(link) = looked(fs::symlink_metadata(place))? else { return Ok(()) };
    let is_place = link.is_symlink() && parent == Path::new("pg_tblspc");
    if link.is_symlink() && !is_place {
        let Some(leads) = follow(scan, place, &below, &path)? else { return Ok(()) };
        scan.links.push((path.clone(), leads));
    }
    let Some(meta) = looked(fs::metadata(place))? else {
        // Gone meanwhile, unless the link is still there.
        return match looked(fs::symlink_metadata(place))? {
            Some(_) if is_place => Err(Error::Failed(format!(
                "{} leads nowhere: the tablespace is not there to be saved",
                place.display()
            ))),
            _ => Ok(()),
        };
    };
    if meta.is_dir() {
        scan.directories.push((path.clone(), meta.mode() & 0o7777));
        if is_place {
            let target = tablespace(scan, place)?;
            scan.tablespaces.insert(name.into_owned(), target);
        } else if scan.is_inside_tablespace(place) || is_top && EMPTIED.contains(&name.as_ref()) {
            return Ok(());
        }
        return walk(scan, place, &below);
    }
    if meta.file_type().is_socket() {
        // It holds nothing, and who listens to it makes it anew.
        log::debug(format_args!("{} is a socket: not saved", below.display()));
        return Ok(());
    }
    if !meta.is_file() {
        return Err(Error::Failed(format!(
            "{} is neither file nor directory, and no backup can hold it: remove it first",
            place.display()
        )));
    }
    scan.files.push(Found {
        path,
        place: place.to_owned(),
        size: meta.len(),
        mode: meta.mode() & 0o7777,
        mtime: meta.mtime(),
    });
    Ok(())
}

impl Scan {
    /// True for the place of a tablespace inside the data directory, whose files are stored under
    /// `pg_tblspc`.
    fn is_inside_tablespace(&self, place: &Path) -> bool {
        !self.inside.is_empty()
            && place.canonicalize().is_ok_and(|real| self.inside.contains(&real))
    }
}

/// Where a link leads; `None` when that is all there is to say of it, since nothing outside of the
/// data directory is reached through it.
fn follow(scan: &mut Scan, place: &Path, below: &Path, path: &str) -> Result<Option<String>> {
    let what = || Error::local(format!("read the link {}", place.display()));
    let target = fs::read_link(place).map_err(what())?;
    let inside = place
        .canonicalize()
        .ok()
        .and_then(|real| real.strip_prefix(&scan.real).ok().map(Path::to_owned));
    match inside {
        // As a way from where it is, it is right in any data directory.
        Some(inside) if !inside.as_os_str().is_empty() => {
            let up = below.components().skip(1).map(|_| "..").collect::<PathBuf>();
            scan.links.push((path.to_owned(), name::to_text(&up.join(inside))));
            Ok(None)
        }
        Some(_) => Err(Error::Failed(format!("{} leads back to where it is", place.display()))),
        None if place.exists() => Ok(Some(name::to_text(&target))),
        None => {
            scan.links.push((path.to_owned(), name::to_text(&target)));
            Ok(None)
        }
    }
}

fn tablespace(scan: &Scan, place: &Path) -> Result<String> {
    let what = || Error::local(format!("read the link {}", place.display()));
    let real = place.canonicalize().map_err(what())?;
    if let Ok(inside) = real.strip_prefix(&scan.real) {
        return Ok(name::to_text(inside));
    }
    let target = fs::read_link(place).map_err(what())?;
    Ok(name::to_text(if target.is_absolute() { &target } else { &real }))
}

/// Files and directories that no restart reads.
fn is_temporary(name: &str) -> bool {
    name.starts_with("pgsql_tmp")
        || name.starts_with("pg_internal.init")
        || is_temporary_relation(name)
}

/// `tBACKEND_RELFILE…`: a temporary table.
fn is_temporary_relation(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix('t').and_then(|rest| rest.split_once('_')).is_some_and(|(backend, rest)| {
        digits(backend) && rest.as_bytes().first().is_some_and(u8::is_ascii_digit)
    })
}

/// Leave out unlogged relations but for their `_init` fork: the server empties them anyway.
fn skip_unlogged(files: &mut Vec<Found>) {
    let unlogged: BTreeSet<String> = files
        .iter()
        .filter_map(|file| file.path.strip_suffix("_init"))
        .filter(|stem| Relation::parse(stem).is_some())
        .map(str::to_owned)
        .collect();
    files.retain(|file| match Relation::parse(&file.path) {
        Some(relation) => relation.fork == Some("init") || !unlogged.contains(relation.stem),
        None => true,
    });
}

/// A file of a relation, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relation<'a> {
    /// Path without fork and segment.
    pub(crate) stem: &'a str,
    /// `vm`, `fsm`, `init`.
    pub(crate) fork: Option<&'a str>,
    /// Number of the segment file.
    pub(crate) segment: u32,
}

impl<'a> Relation<'a> {
    /// Parse a path below the data directory.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        if !["base/", "global/", "pg_tblspc/"].iter().any(|top| path.starts_with(top)) {
            return None;
        }
        let (directory, name) = path.rsplit_once('/')?;
        let (name, segment) = match name.split_once('.') {
            Some((name, segment)) => (name, segment.parse().ok()?),
            None => (name, 0),
        };
        let (number, fork) = match name.split_once('_') {
            Some((number, fork)) => (number, Some(fork)),
            None => (name, None),
        };
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_fork = fork.is_none_or(|fork| matches!(fork, "vm" | "fsm" | "init"));
        let stem = path.get(..directory.len() + 1 + number.len())?;
        (is_number && is_fork).then_some(Self { stem, fork, segment })
    }
}

#[cfg(test)]
mod tests {
    use super::{Relation, is_temporary};

    #[test]
    fn relations_are_told_by_their_paths() {
        let relation = Relation::parse("base/5/16384_fsm.2").unwrap();
        assert_eq!(
            (relation.stem, relation.fork, relation.segment),
            ("base/5/16384", Some("fsm"), 2)
        );
        assert!(Relation::parse("pg_tblspc/16385/PG_15_202209061/5/16386").is_some());
        for path in
            ["base/5/PG_VERSION", "pg_xact/0000", "base/5/1_x", "global/pg_control", "base/5/1.x"]
        {
            assert_eq!(Relation::parse(path), None, "{path}");
        }
    }

    #[test]
    fn temporary_files_are_told_by_their_names() {
        for name in ["pgsql_tmp", "pgsql_tmp1.2", "pg_internal.init.12", "t3_16384", "t3_16384_fsm"]
        {
            assert!(is_temporary(name), "{name}");
        }
        for name in ["16384", "table_1", "t_1", "txid"] {
            assert!(!is_temporary(name), "{name}");
        }
    }
}
