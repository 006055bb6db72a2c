//! PostgreSQL's own `backup_manifest`, so that `pg_verifybackup` can check what a restore brings.

use std::fmt::Write;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::backup::info::BackupInfo;
use crate::backup::manifest::{CONFIG, Control, FileEntry, Manifest};
use crate::backup::name;
use crate::error::{Error, Result};
use crate::size::wide;

/// The text of `backup_manifest` for a backup.
pub(crate) fn text(info: &BackupInfo, manifest: &Manifest) -> Result<String> {
    let mut out = String::new();
    let version = if info.pg_version >= 17 { 2 } else { 1 };
    put(&mut out, format_args!("{{ \"PostgreSQL-Backup-Manifest-Version\": {version},\n"))?;
    if version >= 2 {
        put(&mut out, format_args!("\"System-Identifier\": {},\n", info.system_identifier))?;
    }
    out.push_str("\"Files\": [");
    let label = manifest.backup_label.as_bytes();
    let label_size = wide(label.len());
    entry(&mut out, "backup_label", label_size, info.stop_time, crc32c::crc32c(label))?;
    let control = manifest.control.bytes()?;
    out.push(',');
    let changed = Timestamp::from_second(manifest.control.mtime).unwrap_or_default();
    let size = wide(control.len());
    entry(&mut out, Control::PATH, size, changed, crc32c::crc32c(&control))?;
    for file in manifest.files.iter().filter(|file| !file.path.starts_with(CONFIG)) {
        out.push(',');
        let changed = Timestamp::from_second(file.mtime).unwrap_or_default();
        entry(&mut out, &file.path, file.size, changed, file.crc)?;
    }
    for (path, file) in through_links(manifest) {
        out.push(',');
        let changed = Timestamp::from_second(file.mtime).unwrap_or_default();
        entry(&mut out, &path, file.size, changed, file.crc)?;
    }
    put(
        &mut out,
        format_args!(
            "\n],\n\"WAL-Ranges\": [\n{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}\n],\n",
            info.timeline, info.start_lsn, info.stop_lsn
        ),
    )?;
    let mut hash = String::new();
    for byte in Sha256::digest(out.as_bytes()) {
        put(&mut hash, format_args!("{byte:02x}"))?;
    }
    put(&mut out, format_args!("\"Manifest-Checksum\": \"{hash}\"}}\n"))?;
    Ok(out)
}

/// Files that are also found through a link within the data directory, by the paths that they have
/// there.
fn through_links(manifest: &Manifest) -> Vec<(String, &FileEntry)> {
    let mut found = Vec::new();
    for (link, target) in &manifest.links {
        let mut place: Vec<&str> = link.split('/').collect();
        place.pop();
        for part in target.split('/') {
            match part {
                ".." => drop(place.pop()),
                part => place.push(part),
            }
        }
        let place = place.join("/");
        for file in &manifest.files {
            if let Some(rest) = file.path.strip_prefix(&place)
                && (rest.is_empty() || rest.starts_with('/'))
            {
                found.push((format!("{link}{rest}"), file));
            }
        }
    }
    found
}

fn entry(out: &mut String, path: &str, size: u64, changed: Timestamp, crc: u32) -> Result<()> {
    let (word, path) = match name::as_hex(path) {
        Some(digits) => ("Encoded-Path", digits),
        None => ("Path", path),
    };
    let path = serde_json::to_string(path).map_err(|error| Error::Failed(error.to_string()))?;
    // The server prints the bytes of a CRC as they lie in memory.
    let crc = crc.swap_bytes();
    let changed = changed.strftime("%Y-%m-%d %H:%M:%S GMT");
    put(
        out,
        format_args!(
            "\n{{ \"{word}\": {path}, \"Size\": {size}, \"Last-Modified\": \"{changed}\", \
             \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"{crc:08x}\" }}"
        ),
    )
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) -> Result<()> {
    out.write_fmt(text).map_err(|error| Error::Failed(error.to_string()))
}
