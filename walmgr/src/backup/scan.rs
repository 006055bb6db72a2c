//! What of a data directory goes into a backup.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
const SKIPPED: [&str; 15] = [
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
    "walmgr.daemon.lock",
    "walmgr.periodic",
    "walmgr.sock",
    "walmgr.spool",
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
    /// Directories with their permissions, parents first.
    pub(crate) directories: Vec<(String, u32)>,
    /// Files, without `global/pg_control`.
    pub(crate) files: Vec<Found>,
    /// Places of tablespaces by oid.
    pub(crate) tablespaces: BTreeMap<String, String>,
    /// How the names begin of what is this cluster's in a tablespace.
    own_directory: String,
}

/// How the name of a cluster's own directory in a tablespace begins: clusters of other versions may have theirs beside it.
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

/// Walk a data directory and its tablespaces.
///
/// # Errors
/// [`Error::Local`]; files that vanish meanwhile are no error.
pub(crate) fn scan(data: &Path) -> Result<Scan> {
    let mut scan = Scan { own_directory: own_directory(data)?, ..Scan::default() };
    walk(&mut scan, data, "")?;
    scan.directories.push(("pg_wal/archive_status".to_owned(), 0o700));
    skip_unlogged(&mut scan.files);
    scan.files.retain(|file| file.path != "global/pg_control");
    // Largest first: threads then finish together.
    scan.files.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
    Ok(scan)
}

fn walk(scan: &mut Scan, place: &Path, path: &str) -> Result<()> {
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_empty() => return Ok(()),
        Err(error) => return Err(Error::local(format!("list {}", place.display()))(error)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::local(format!("list {}", place.display())))?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Error::Failed(format!(
                "{} has a name that is not UTF-8",
                entry.path().display()
            )));
        };
        let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        visit(scan, &entry.path(), path, &name, below)?;
    }
    Ok(())
}

fn visit(scan: &mut Scan, place: &Path, parent: &str, name: &str, path: String) -> Result<()> {
    let looked = |result: std::io::Result<Metadata>| match result {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::local(format!("look at {}", place.display()))(error)),
    };
    let Some(link) = looked(fs::symlink_metadata(place))? else { return Ok(()) };
    let Some(meta) = looked(fs::metadata(place))? else { return Ok(()) };
    if is_tablespace(parent) && !name.starts_with(&scan.own_directory) {
        return Ok(());
    }
    if is_temporary(name) || (parent.is_empty() && SKIPPED.contains(&name)) {
        return Ok(());
    }
    if meta.is_dir() {
        if link.is_symlink() && parent == "pg_tblspc" {
            let target = fs::read_link(place).map_err(Error::local(format!("read {path}")))?;
            scan.tablespaces.insert(name.to_owned(), target.display().to_string());
        } else if link.is_symlink() && path != "pg_wal" && !EMPTIED.contains(&path.as_str()) {
            log::warning(format_args!(
                "{path} is a link to a directory: only the directory itself is saved"
            ));
            scan.directories.push((path, meta.mode() & 0o7777));
            return Ok(());
        }
        scan.directories.push((path.clone(), meta.mode() & 0o7777));
        let is_emptied = parent.is_empty() && EMPTIED.contains(&name);
        return if is_emptied { Ok(()) } else { walk(scan, place, &path) };
    }
    if !meta.is_file() {
        log::warning(format_args!("{path} is neither file nor directory: not saved"));
        return Ok(());
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
