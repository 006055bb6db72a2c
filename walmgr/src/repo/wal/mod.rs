//! The rules of the WAL archive: what may come in, under which name, and what may be said about
//! what is there.

mod incoming;
mod verify;

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};
use crate::plain_file;
use crate::repo::object;
use crate::repo::stanza::Stanza;
use crate::size::wide;
use crate::wal::header::{self, Header};
use crate::wal::history;
use crate::wal::name::{Segment, WalName};

pub(crate) use incoming::{Done, How, Like, Pushed, push, push_all};
pub(crate) use verify::{verify, verify_tee};

/// History files and backup history files are text of a few lines.
pub(crate) const TEXT: u64 = 1 << 20;

/// What the repository says about a file that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// Delivered and verified.
    Delivered,
    /// It is not there.
    Absent,
    /// It is not there although it is of the timeline, and later segments are: something is
    /// missing.
    Hole,
}

/// Read a WAL file out of the archive into a local file, whole and verified or not at all.
///
/// # Errors
/// Anything that keeps the answer from being authoritative.
pub(crate) fn fetch(stanza: &Stanza, name: &WalName, to: &Path) -> Result<Fetched> {
    let key = key(stanza, name);
    let Some(source) = stanza.store.open(&key)? else {
        // The object is absent only if the archive it would be in is there.
        if stanza.store.open(&stanza.key("wal/README"))?.is_none() {
            return Err(Error::Corrupt(format!(
                "{}/wal/README is missing: the repository is damaged",
                stanza.name
            )));
        }
        return if is_hole(stanza, name)? { Ok(Fetched::Hole) } else { Ok(Fetched::Absent) };
    };
    // A name of its own: an attempt that was given up may still be writing.
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let temporary = to.with_extension(format!("{}.{serial}.walmgr.tmp", std::process::id()));
    let delivered = deliver(stanza, name, &key, source.as_ref(), &temporary).and_then(|()| {
        std::fs::rename(&temporary, to).map_err(Error::local(format!("rename to {}", to.display())))
    });
    if delivered.is_err() {
        // Best effort; the next request starts over with the same name.
        let _ = std::fs::remove_file(&temporary);
    }
    delivered.map(|()| Fetched::Delivered)
}

/// Hold a local file against its name and the stanza, as for a push.
pub(crate) fn check_local(stanza: &Stanza, name: &WalName, path: &Path) -> Result<()> {
    let what = || Error::local(format!("read {}", path.display()));
    let (mut file, meta) = plain_file::open(path).map_err(what())?;
    check_file(stanza, name, &mut file, meta.len())
}

/// All whole segments of a timeline in the repository, in order.
pub(crate) fn segments(stanza: &Stanza, timeline: u32) -> Result<Vec<Segment>> {
    let directory = stanza.key(&format!("wal/{timeline:08X}"));
    let mut segments = Vec::new();
    for high in stanza.store.list(&directory)? {
        let names = stanza.store.list(&format!("{directory}/{}", high.trim_end_matches('/')))?;
        segments.extend(
            names.iter().filter_map(|name| Segment::parse(name, stanza.info.wal_segment_size)),
        );
    }
    segments.sort_unstable();
    Ok(segments)
}

/// Backup history files and unfinished segments, each with its key.
pub(crate) fn beside_segments(stanza: &Stanza) -> Result<Vec<(WalName, String)>> {
    let mut found = Vec::new();
    for timeline in timelines(stanza)? {
        let directory = stanza.key(&format!("wal/{timeline:08X}"));
        for high in stanza.store.list(&directory)? {
            let directory = format!("{directory}/{}", high.trim_end_matches('/'));
            for name in stanza.store.list(&directory)? {
                if let Some(parsed @ (WalName::Backup(_) | WalName::Partial(_))) = name_of(&name) {
                    found.push((parsed, format!("{directory}/{name}")));
                }
            }
        }
    }
    Ok(found)
}

/// What the last part of a key stands for; `None` for what is no WAL file, or was set aside.
pub(crate) fn name_of(leaf: &str) -> Option<WalName> {
    // The key of an unfinished segment ends in its hash.
    match leaf.rsplit_once(".partial.").filter(|(_, hash)| hash.len() == 16) {
        Some((segment, _)) => WalName::parse(&format!("{segment}.partial")).ok(),
        None => WalName::parse(leaf).ok(),
    }
}

/// All timelines that have a directory in the archive.
pub(crate) fn timelines(stanza: &Stanza) -> Result<Vec<u32>> {
    let names = stanza.store.list(&stanza.key("wal"))?;
    Ok(names
        .iter()
        .filter_map(|name| name.strip_suffix('/'))
        .filter_map(|name| u32::from_str_radix(name, 16).ok())
        .collect())
}

/// True when a whole segment is in the repository.
pub(crate) fn has_segment(stanza: &Stanza, segment: Segment) -> Result<bool> {
    let name = WalName::Segment(segment.name(stanza.info.wal_segment_size));
    Ok(stanza.store.open(&key(stanza, &name))?.is_some())
}

/// Ancestors of a timeline, oldest first; none when its history is not archived.
pub(crate) fn ancestors(stanza: &Stanza, timeline: u32) -> Result<Vec<history::Ancestor>> {
    let key = key(stanza, &WalName::History(timeline));
    let Some(source) = stanza.store.open(&key)? else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    object::read(source.as_ref(), &key, TEXT, &mut bytes)?;
    history::parse(timeline, &String::from_utf8_lossy(&bytes))
}

/// The key of a WAL file other than `.partial`, whose key also needs the content's hash.
pub(crate) fn key(stanza: &Stanza, name: &WalName) -> String {
    match name.segment() {
        Some(segment) => {
            let (timeline, rest) = segment.split_at(8);
            let (high, _) = rest.split_at(8);
            stanza.key(&format!("wal/{timeline}/{high}/{name}"))
        }
        None => stanza.key(&format!("wal/{name}")),
    }
}

/// The longest content that a WAL file may have.
fn limit(stanza: &Stanza, name: &WalName) -> u64 {
    match name {
        WalName::Segment(_) | WalName::Partial(_) => u64::from(stanza.info.wal_segment_size),
        WalName::History(_) | WalName::Backup(_) => TEXT,
    }
}

fn check_file(stanza: &Stanza, name: &WalName, file: &mut File, length: u64) -> Result<()> {
    let what = || Error::local(format!("read {name}"));
    let limit = match name {
        WalName::Segment(_) | WalName::Partial(_) => wide(header::LENGTH),
        WalName::History(_) | WalName::Backup(_) => TEXT,
    };
    let mut head = Vec::new();
    (&*file).take(limit).read_to_end(&mut head).map_err(what())?;
    file.rewind().map_err(what())?;
    check_content(stanza, name, &head, length)
}

/// Hold the beginning of a file against its name and the stanza.
fn check_content(stanza: &Stanza, name: &WalName, head: &[u8], length: u64) -> Result<()> {
    if length > limit(stanza, name) {
        return Err(Error::Corrupt(format!("{name} has {length} bytes, more than it may have")));
    }
    match name {
        WalName::Segment(segment) | WalName::Partial(segment) => {
            let info = &stanza.info;
            let size = info.wal_segment_size;
            Header::parse(head)
                .map_err(|error| Error::Corrupt(format!("{name}: {error}")))?
                .check(segment, info.system_identifier, size, info.pg_version)?;
            if length != u64::from(size) {
                return Err(Error::Corrupt(format!(
                    "{name} has {length} bytes, a segment of this cluster has {size}"
                )));
            }
        }
        WalName::History(timeline) => {
            history::parse(*timeline, &String::from_utf8_lossy(head))?;
        }
        WalName::Backup(_) => {
            if !head.starts_with(b"START WAL LOCATION:") {
                return Err(Error::Corrupt(format!("{name} is no backup history file")));
            }
        }
    }
    Ok(())
}

/// Open a local file that is written from its beginning, and read afterwards.
pub(crate) fn write_anew(path: &Path) -> Result<File> {
    let mut options = File::options();
    // As PostgreSQL has its WAL, whatever the umask.
    options.read(true).write(true).create(true).truncate(true).mode(0o640);
    options.open(path).map_err(Error::local(format!("write {}", path.display())))
}

fn deliver(
    stanza: &Stanza,
    name: &WalName,
    key: &str,
    source: &dyn crate::repo::Source,
    temporary: &Path,
) -> Result<()> {
    let mut file = write_anew(temporary)?;
    let meta = object::read(source, key, limit(stanza, name), &mut file)?;
    file.rewind().map_err(Error::local(format!("read {}", temporary.display())))?;
    check_file(stanza, name, &mut file, meta.length)
}

/// True when the timeline has segments after an absent one, which is of it: that is known from the
/// segments before, or from where the timeline begins. A server that recovers asks for none from
/// before its backup, so what lies before all the others was there, too.
fn is_hole(stanza: &Stanza, name: &WalName) -> Result<bool> {
    let WalName::Segment(text) = name else { return Ok(false) };
    let (timeline, rest) = text.split_at(8);
    let (high, _) = rest.split_at(8);
    let directory = stanza.key(&format!("wal/{timeline}"));
    let (mut before, mut after) = (false, false);
    for other in stanza.store.list(&directory)? {
        let other = other.trim_end_matches('/');
        if other != high && (if other < high { before } else { after }) {
            continue;
        }
        for segment in stanza.store.list(&format!("{directory}/{other}"))? {
            if crate::wal::name::is_segment(&segment) {
                before |= segment < *text;
                after |= segment > *text;
            }
        }
    }
    Ok(after && (before || has_begun(stanza, text)?))
}

/// True when a timeline begins in a segment or before it; false also when that is not known.
fn has_begun(stanza: &Stanza, name: &str) -> Result<bool> {
    let size = stanza.info.wal_segment_size;
    let Some(segment) = Segment::parse(name, size) else { return Ok(false) };
    if segment.timeline == 1 {
        return Ok(true);
    }
    let parent = ancestors(stanza, segment.timeline)?.pop();
    Ok(parent.is_some_and(|parent| parent.end.segment(0, size).number <= segment.number))
}
