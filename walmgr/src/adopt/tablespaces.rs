//! Tablespaces of an old base backup: walmgr3 copied each to `tmpspc/OID`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::backup::scan::Scan;
use crate::error::{Error, Result};

const COPIES: &str = "tmpspc";

/// Give the copies of tablespaces the paths they have in a data directory, and say where the
/// tablespaces were.
///
/// # Errors
/// [`Error::Usage`] for a tablespace whose place nothing names.
pub(crate) fn put_right(
    scan: &mut Scan,
    directory: &Path,
    named: &BTreeMap<String, String>,
) -> Result<()> {
    if let Some(oid) = scan.tablespaces.keys().next() {
        // It leads to wherever the link points now, which is not a copy.
        return Err(Error::Usage(format!(
            "pg_tblspc/{oid} is a link, not a copy that walmgr3 made in {COPIES}/{oid}"
        )));
    }
    let mut places = tablespace_map(directory)?;
    places.extend(named.clone());
    let mut found = Vec::new();
    scan.directories.retain(|(path, _)| path != COPIES);
    for (path, _) in &mut scan.directories {
        if let Some(rest) = path.strip_prefix(&format!("{COPIES}/")) {
            if !rest.contains('/') {
                found.push(rest.to_owned());
            }
            *path = format!("pg_tblspc/{rest}");
        }
    }
    let own = crate::backup::scan::own_directory(directory)?;
    let foreign = |path: &str| {
        let below = path.strip_prefix("pg_tblspc/").and_then(|rest| rest.split_once('/'));
        below.is_some_and(|(_, rest)| !rest.starts_with(&own))
    };
    for file in &mut scan.files {
        if let Some(rest) = file.path.strip_prefix(&format!("{COPIES}/")) {
            file.path = format!("pg_tblspc/{rest}");
        }
    }
    scan.directories.retain(|(path, _)| !foreign(path));
    scan.files.retain(|file| !foreign(&file.path));
    for oid in found {
        let place = places.get(&oid).ok_or_else(|| {
            Error::Usage(format!(
                "nothing says where tablespace {oid} was: --tablespace-map {oid}=DIR"
            ))
        })?;
        scan.tablespaces.insert(oid, place.clone());
    }
    // Parents first: the tablespaces' paths now have another top.
    scan.directories.sort();
    scan.directories.dedup_by(|a, b| a.0 == b.0);
    Ok(())
}

/// `tablespace_map`, which the server writes when a backup starts: OID, blank, place.
fn tablespace_map(directory: &Path) -> Result<BTreeMap<String, String>> {
    let path = directory.join("tablespace_map");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::local(format!("read {}", path.display()))(error)),
    };
    text.lines()
        .map(|line| {
            let parts = line.split_once(' ').filter(|(_, place)| !place.contains('\\'));
            parts
                .map(|(oid, place)| (oid.to_owned(), place.to_owned()))
                .ok_or_else(|| Error::Corrupt(format!("tablespace_map: bad line \"{line}\"")))
        })
        .collect()
}
