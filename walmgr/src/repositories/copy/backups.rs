//! Copying backups: what one consists of first, `ID.json`, which makes it exist, last. The list of
//! backups is older than anything that is looked for, so all that they need is there to be found.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::wal::Wal;
use super::{Both, object};
use crate::backup::info::{self, BackupInfo};
use crate::backup::manifest::{self, Chunk, Manifest};
use crate::backup::pack::Reader;
use crate::backup::pin;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::log;
use crate::repo::object::Hash;
use crate::repo::stanza::Stanza;
use crate::repo::{Created, Lock, read_all, wal as archive};

/// Copy the backups that the other side lacks: how many, and the first that could not be.
pub(super) fn copy(
    both: &Both<'_>,
    wal: &mut Wal<'_>,
    locks: &mut [Box<dyn Lock>],
) -> Result<(usize, Result<()>)> {
    let names = both.source.store.list(&both.source.key("backup"))?;
    if !both.to.dry_run {
        for directory in ["pack", "backup"] {
            both.target.store.sweep(&both.target.key(directory), Duration::ZERO)?;
        }
    }
    let (mut copied, mut outcome) = (0, Ok(()));
    for id in names.iter().filter_map(|name| name.strip_suffix(".json")) {
        match one(both, wal, locks, id) {
            Ok(is_new) => copied += usize::from(is_new),
            // Expire waits until this is done, so what is missing is lost.
            Err(error @ (Error::Corrupt(_) | Error::Mismatch(_) | Error::NotFound(_))) => {
                let error = match error {
                    Error::Mismatch(why) => Error::Mismatch(not_copied(id, &why)),
                    error => Error::Corrupt(not_copied(id, &error.to_string())),
                };
                match outcome {
                    Ok(()) => outcome = Err(error),
                    Err(_) => log::error(error),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok((copied, outcome))
}

fn not_copied(id: &str, why: &str) -> String {
    format!("backup {id} is not copied: {why}")
}

/// Copy one backup; false when it is there.
///
/// # Errors
/// As [`copy`], of this one.
pub(super) fn one(
    both: &Both<'_>,
    wal: &mut Wal<'_>,
    locks: &mut [Box<dyn Lock>],
    id: &str,
) -> Result<bool> {
    let (source, target) = (&both.source, &both.target);
    let rest = format!("backup/{id}.json");
    let read = |stanza: &Stanza| read_all(stanza.store.as_ref(), &stanza.key(&rest));
    if let Some(there) = read(target)? {
        if read(source)?.is_some_and(|here| here != there) {
            return Err(Error::Mismatch("there is another one of this name".to_owned()));
        }
        return mark(both, &info::load(target, id)?).map(|()| false);
    }
    if both.to.dry_run {
        log::print(format_args!("would copy {}", source.key(&rest)));
        return Ok(true);
    }
    let info = info::load(source, id)?;
    let manifest = manifest::load(source, id, &info.manifest_hash)?;
    let size = source.info.wal_segment_size;
    let (mut segment, last) = (info.start_segment(size), info.stop_segment(size));
    while segment <= last {
        wal.bring(segment)?;
        segment = segment.next();
    }
    for (pack, chunks) in packs(&manifest)? {
        copy_pack(both, pack, &chunks)?;
    }
    if bring(both, &format!("backup/{id}.manifest"))? == Created::Exists {
        // Of a copy that broke off, or of another backup.
        manifest::load(target, id, &info.manifest_hash)?;
    }
    mark(both, &info)?;
    // Without them, an expire may have removed what was brought.
    locks.iter_mut().try_for_each(|lock| lock.check())?;
    bring(both, &rest)?;
    log::notice(format_args!("backup {id} copied to repository \"{}\"", both.to.repository()));
    Ok(true)
}

/// Say over there, too, that only the WAL of its own is left of a backup's, if it is so there: an
/// archiving host may have brought what comes after it. A host that may only add must not say so,
/// since the rules go by it; one that may do all says it when it copies.
fn mark(both: &Both<'_>, info: &BackupInfo) -> Result<()> {
    let (source, target) = (&both.source, &both.target);
    let mark = pin::standalone_key(&info.id);
    let next = info.stop_segment(target.info.wal_segment_size).next();
    if both.to.dry_run
        || source.store.open(&source.key(&mark))?.is_none()
        || target.store.open(&target.key(&mark))?.is_some()
        || archive::has_segment(target, next)?
    {
        return Ok(());
    }
    match bring(both, &mark) {
        Err(Error::Usage(why)) => {
            log::warning(format_args!(
                "backup {} restores to its own end only, which repository \"{}\" does not know: \
                 its verify will miss WAL (a host with full access says it by walmgr repository \
                 copy): {why}",
                info.id,
                both.to.repository()
            ));
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}

/// The packs that a backup refers to, each with what it needs of it.
fn packs(manifest: &Manifest) -> Result<BTreeMap<&str, Vec<&Chunk>>> {
    let mut packs: BTreeMap<&str, Vec<&Chunk>> = BTreeMap::new();
    for chunk in manifest.files.iter().flat_map(|file| &file.chunks) {
        let name = usize::try_from(chunk.pack).ok().and_then(|number| manifest.packs.get(number));
        let name =
            name.ok_or_else(|| Error::Corrupt(format!("no pack has number {}", chunk.pack)))?;
        packs.entry(name).or_default().push(chunk);
    }
    Ok(packs)
}

/// Copy a pack, and see that what is there under its name then has all that is needed of it. Packs
/// are named by time: both sides may have made one of the same name.
fn copy_pack(both: &Both<'_>, pack: &str, chunks: &[&Chunk]) -> Result<()> {
    bring(both, pack)?;
    let key = both.target.key(pack);
    let there = both.target.store.open(&key)?;
    let there = there.ok_or_else(|| Error::Corrupt(format!("{key} vanished")))?;
    let place = |chunk: &Chunk| (chunk.hash, chunk.offset, chunk.stored, chunk.length);
    let table = Reader::open(there, &key)?.table(0)?;
    let has: HashSet<(Hash, u64, u32, u32)> = table.iter().map(place).collect();
    match chunks.iter().all(|chunk| has.contains(&place(chunk))) {
        true => Ok(()),
        false => Err(Error::Mismatch(format!("{key} is of another backup"))),
    }
}

/// See to it that the other side has an object, durably.
fn bring(both: &Both<'_>, rest: &str) -> Result<Created> {
    let key = both.target.key(rest);
    if both.target.store.open(&key)?.is_some() {
        // Whoever made it may have died before it was durable.
        return both.target.store.settle(&key).map(|()| Created::Exists);
    }
    failpoint::visit("copy.object").map_err(Error::local("copy"))?;
    object(&both.source, &both.target, rest)
}
