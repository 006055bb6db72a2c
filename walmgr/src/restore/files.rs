//! Bringing files: threads take files from a queue, and write chunks to their places; one more has the disk write them meanwhile.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::backup::manifest::{CONFIG, Chunk, FileEntry, Manifest};
use crate::backup::progress::Progress;
use crate::backup::read::Packs;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::repo::object::Hash;
use crate::repo::stanza::Stanza;
use crate::restore::place::{Existing, Place};

/// Chunks that one thread brings at a time.
const PART: usize = 256;

/// Parts of at least this many bytes are synced while others are brought. The sync of the whole file system that ends a restore has to
/// write the rest, which is then little.
const SYNC_EARLY: u64 = 1 << 20;

/// Parts that may wait for the disk before the threads that bring more do.
const UNSYNCED: usize = 16;

/// A run of chunks of one file.
struct Part<'a> {
    file: &'a FileEntry,
    place: PathBuf,
    offset: u64,
    chunks: &'a [Chunk],
}

/// Bring all files but the control file. Not all of them are synced yet.
///
/// # Errors
/// The first that any thread met.
pub(crate) fn restore(
    stanza: &Stanza,
    manifest: &Manifest,
    place: &Place,
    config: Option<&Path>,
    jobs: usize,
) -> Result<()> {
    let mut parts = Vec::new();
    for file in &manifest.files {
        let target = match (file.path.strip_prefix(CONFIG), config) {
            (Some(name), Some(config)) => config.join(name),
            (Some(_), None) => continue,
            (None, _) => place.data.join(&file.path),
        };
        prepare(file, &target, place.existing)?;
        split(file, &target, &mut parts);
    }
    let packs = Packs::new(stanza, manifest);
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let total =
        parts.iter().flat_map(|part| part.chunks).map(|chunk| u64::from(chunk.length)).sum();
    let progress = Progress::new(total);
    std::thread::scope(|scope| {
        scope.spawn(|| progress.show("restore"));
        let (written, unsynced) = mpsc::sync_channel(UNSYNCED);
        let (parts, packs, next, stop, progress) = (&parts, &packs, &next, &stop, &progress);
        let work = |written: mpsc::SyncSender<_>| {
            while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (file, bytes) =
                    bring(part, packs, place.existing, progress).inspect_err(|_| {
                        stop.store(true, Ordering::Relaxed);
                    })?;
                // Fails only when the other side has failed, which is reported there.
                if bytes >= SYNC_EARLY && written.send((file, &part.place)).is_err() {
                    break;
                }
            }
            Ok(())
        };
        let mut workers: Vec<_> = (0..jobs)
            .map(|_| {
                let written = written.clone();
                scope.spawn(move || work(written))
            })
            .collect();
        drop(written);
        workers.push(scope.spawn(move || sync(unsynced)));
        let mut outcome = Ok(());
        for worker in workers {
            let ended = worker
                .join()
                .unwrap_or_else(|_| Err(Error::Failed("a restoring thread panicked".to_owned())));
            outcome = outcome.and(ended);
        }
        progress.finish();
        outcome
    })
}

/// Sync what was written.
fn sync(unsynced: mpsc::Receiver<(File, &PathBuf)>) -> Result<()> {
    unsynced.into_iter().try_for_each(|(file, place)| {
        file.sync_data().map_err(Error::local(format!("sync {}", place.display())))
    })
}

/// Make the file, of the right length and permissions.
fn prepare(file: &FileEntry, target: &Path, existing: Existing) -> Result<()> {
    let what = || Error::local(format!("create {}", target.display()));
    if existing == Existing::Delta && fs::symlink_metadata(target).is_ok_and(|meta| !meta.is_file())
    {
        // Never write through a link, or into a directory that stands where a file belongs.
        let meta = fs::symlink_metadata(target).map_err(what())?;
        if meta.is_dir() { fs::remove_dir_all(target) } else { fs::remove_file(target) }
            .map_err(what())?;
    }
    let opened = File::options()
        .write(true)
        .create(existing == Existing::Delta)
        .create_new(existing != Existing::Delta)
        .mode(file.mode)
        .open(target)
        .map_err(what())?;
    opened.set_len(file.size).map_err(what())?;
    opened.set_permissions(fs::Permissions::from_mode(file.mode)).map_err(what())
}

fn split<'a>(file: &'a FileEntry, target: &Path, parts: &mut Vec<Part<'a>>) {
    let mut offset = 0;
    for chunks in file.chunks.chunks(PART) {
        parts.push(Part { file, place: target.to_owned(), offset, chunks });
        offset += chunks.iter().map(|chunk| u64::from(chunk.length)).sum::<u64>();
    }
}

/// Bring a part: the file, and how many bytes of it were written.
fn bring(
    part: &Part<'_>,
    packs: &Packs<'_>,
    existing: Existing,
    progress: &Progress,
) -> Result<(File, u64)> {
    let what = || Error::local(format!("write {}", part.place.display()));
    let file = File::options().read(true).write(true).open(&part.place).map_err(what())?;
    let (mut offset, mut written) = (part.offset, 0);
    let mut buffer = Vec::new();
    for chunk in part.chunks {
        let length = usize::try_from(chunk.length).unwrap_or(0);
        let same = existing == Existing::Delta && {
            buffer.resize(length, 0);
            file.read_exact_at(&mut buffer, offset).is_ok() && Hash::of(&buffer) == chunk.hash
        };
        if !same {
            let content = packs
                .read(chunk)
                .map_err(|error| Error::Corrupt(format!("{}: {error}", part.file.path)))?;
            file.write_all_at(&content, offset).map_err(what())?;
            failpoint::visit("restore.chunk").map_err(what())?;
            written += u64::from(chunk.length);
        }
        offset += u64::from(chunk.length);
        progress.add(length);
    }
    Ok((file, written))
}
