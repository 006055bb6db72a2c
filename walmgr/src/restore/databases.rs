//! Restoring some databases only. The files of the others are made, of their right sizes, and hold
//! nothing: recovery needs them to be there, and takes no place on the disk for them.

use std::collections::BTreeSet;

use crate::backup::info::BackupInfo;
use crate::backup::manifest::Manifest;
use crate::error::{Error, Result};
use crate::log;

/// Databases with smaller numbers came with the cluster: `template0`, `template1`, `postgres`.
const FIRST_OWN: u32 = 16_384;

/// A database that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Its number, which is the name of its directory.
    pub(crate) oid: String,
    /// Its name.
    pub(crate) name: String,
}

/// The databases that are left out when these, by name or number, are wanted. Those that came with
/// the cluster always stay, and so does one that was made while the backup was taken.
///
/// # Errors
/// [`Error::NotFound`] for a name that the backup does not have, [`Error::Usage`] when it does not
/// know its databases.
pub(crate) fn left_out(info: &BackupInfo, wanted: &[String]) -> Result<Vec<LeftOut>> {
    if info.databases.is_empty() {
        return Err(Error::Usage(format!(
            "backup {} does not say which databases it has: it can only be restored whole",
            info.id
        )));
    }
    let is_named = |oid: &str, name: &str| wanted.iter().any(|text| text == name || text == oid);
    let is_there =
        |text: &String| info.databases.iter().any(|(oid, name)| text == name || text == oid);
    if let Some(text) = wanted.iter().find(|text| !is_there(text)) {
        let names: Vec<String> = info.databases.values().map(|name| plain(name)).collect();
        return Err(Error::NotFound(format!(
            "backup {} has no database \"{text}\"; it has {}",
            info.id,
            names.join(", ")
        )));
    }
    let stays = |oid: &str, name: &str| {
        is_named(oid, name)
            || oid.parse::<u32>().is_ok_and(|oid| oid < FIRST_OWN)
            || matches!(name, "template0" | "template1" | "postgres")
    };
    let others = info.databases.iter().filter(|(oid, name)| !stays(oid, name));
    Ok(others.map(|(oid, name)| LeftOut { oid: oid.clone(), name: name.clone() }).collect())
}

/// Print what is to be done, once recovery is over, about databases that were left out, and what
/// else is undone then.
pub(crate) fn say(left_out: &[LeftOut], ignores_invalid_pages: bool) {
    if !left_out.is_empty() {
        remedy(left_out, ignores_invalid_pages).iter().for_each(log::print);
    }
}

/// A name without what would end the line: whoever owns the database has chosen it, and the text
/// is run by an operator, whose `psql` runs commands of the shell.
fn plain(name: &str) -> String {
    name.chars().map(|one| if one.is_control() { '?' } else { one }).collect()
}

/// Lines for `psql`. By the numbers of databases, for the WAL may give their names to others.
fn remedy(left_out: &[LeftOut], ignores_invalid_pages: bool) -> Vec<String> {
    let names: Vec<String> = left_out.iter().map(|one| plain(&one.name)).collect();
    let numbers: Vec<&str> = left_out.iter().map(|one| one.oid.as_str()).collect();
    let these = format!("from pg_catalog.pg_database where oid in ({})", numbers.join(", "));
    let run =
        |text: &str, only: &str| format!("select format('{text}', datname) {these}{only} \\gexec");
    let mut lines = vec![
        format!("-- These databases hold nothing and cannot be used: {}.", names.join(", ")),
        "-- When recovery is over, drop them, whatever they are called by then, and undo what this \
         restore has set; in psql:"
            .to_owned(),
        format!("select oid, datname, datistemplate, datallowconn {these};"),
        run("alter database %I is_template false", " and datistemplate"),
        run("drop database %I", ""),
    ];
    if ignores_invalid_pages {
        lines.push("alter system reset ignore_invalid_pages;".to_owned());
    }
    lines.push("alter system reset archive_mode;".to_owned());
    lines.push("-- Then restart the server; walmgr setup if it is to archive.".to_owned());
    lines
}

/// Take the content out of the files of databases.
pub(crate) fn empty(manifest: &mut Manifest, databases: &[LeftOut]) {
    let numbers: BTreeSet<&str> = databases.iter().map(|one| one.oid.as_str()).collect();
    for file in &mut manifest.files {
        let is_out = database_of(&file.path).is_some_and(|oid| numbers.contains(oid));
        // The server looks at the version of every database.
        if is_out && !file.path.ends_with("/PG_VERSION") {
            file.chunks.clear();
            file.crc = crc_of_zeros(file.size);
        }
    }
}

/// The number of the database that a file is of: `base/OID/…`, `pg_tblspc/OID/VERSION/OID/…`.
fn database_of(path: &str) -> Option<&str> {
    let mut parts = path.split('/');
    match parts.next()? {
        "base" => parts.next(),
        "pg_tblspc" => parts.nth(2),
        _ => None,
    }
    .filter(|_| parts.next().is_some())
}

/// CRC-32C of so many zero bytes, by doubling.
fn crc_of_zeros(mut length: u64) -> u32 {
    let (mut crc, mut block, mut block_length) = (0, crc32c::crc32c(&[0]), 1_usize);
    while length > 0 {
        if length % 2 == 1 {
            crc = crc32c::crc32c_combine(crc, block, block_length);
        }
        block = crc32c::crc32c_combine(block, block, block_length);
        block_length = block_length.saturating_mul(2);
        length /= 2;
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::{LeftOut, crc_of_zeros, database_of, left_out, remedy};
    use crate::expire::retention::tests::backup;

    #[test]
    fn files_are_told_by_their_databases() {
        assert_eq!(database_of("base/16384/2619_vm"), Some("16384"));
        assert_eq!(database_of("pg_tblspc/16390/PG_15_202209061/16384/16391"), Some("16384"));
        for path in ["base/16384", "global/1262", "pg_tblspc/16390/PG_15_202209061", "pg_xact/0000"]
        {
            assert_eq!(database_of(path), None, "{path}");
        }
    }

    #[test]
    fn a_name_of_several_lines_is_no_command() {
        let name = "a\n\\! touch /x\r\u{85}\u{1b}[2J".to_owned();
        let lines = remedy(&[LeftOut { oid: "16385".to_owned(), name: name.clone() }], true);
        for line in &lines {
            assert!(!line.contains(char::is_control) && !line.starts_with('\\'), "{line:?}");
        }
        assert!(lines[0].contains("a?\\! touch /x??"), "{}", lines[0]);
        let mut info = backup(1, 1, 100);
        info.databases = [("16385".to_owned(), name)].into();
        let error = left_out(&info, &["b".to_owned()]).unwrap_err().to_string();
        assert!(!error.contains(char::is_control), "{error}");
    }

    #[test]
    fn zeros_have_a_checksum_as_any_bytes() {
        for length in [0_u32, 1, 7, 8192, 1 << 20 | 3] {
            let zeros = vec![0; usize::try_from(length).unwrap()];
            assert_eq!(crc_of_zeros(length.into()), crc32c::crc32c(&zeros), "{length}");
        }
    }

    #[test]
    fn what_is_wanted_and_what_came_with_the_cluster_stays() {
        let mut info = backup(1, 1, 100);
        let wanted =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(left_out(&info, &wanted(&["a"])).unwrap_err().exit_code(), 2);
        let all =
            [("1", "template1"), ("5", "x"), ("16384", "a"), ("16385", "b"), ("16386", "postgres")];
        info.databases = all.map(|(oid, name)| (oid.to_owned(), name.to_owned())).into();
        let names = |these: &[&str]| {
            let left = left_out(&info, &wanted(these)).unwrap();
            left.into_iter().map(|one| one.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["a"]), ["b"]);
        assert_eq!(names(&["16385"]), ["a"]);
        assert_eq!(names(&["postgres"]), ["a", "b"]);
        let error = left_out(&info, &wanted(&["A"])).unwrap_err();
        assert!(error.exit_code() == 1 && error.to_string().contains("a, b"), "{error}");
    }
}
