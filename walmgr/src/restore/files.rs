//! Bringing files: threads take files from a queue, and write chunks to their places; one more has
//! the disk write them meanwhile.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use rustix::fs::OFlags;

use crate::backup::manifest::{CONFIG, Chunk, FileEntry, Manifest};
use crate::backup::name;
use crate::backup::progress::Progress;
use crate::backup::read::Packs;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::repo::object::Hash;
use crate::restore::beneath::Beneath;
use crate::restore::place::{Existing, Place, Plan, Roots};

/// Chunks that one thread brings at a time.
const PART: usize = 256;

/// Parts of at least this many bytes are synced while others are brought. The sync of the whole
/// file system that ends a restore has to write the rest, which is then little.
const SYNC_EARLY: u64 = 1 << 20;

/// Parts that may wait for the disk before the threads that bring more do.
const UNSYNCED: usize = 16;

/// Permissions that files of a data directory may have.
const PERMISSIONS: u32 = 0o750;

/// Where a file goes: a path below a directory.
struct Target<'a> {
    root: &'a Beneath,
    below: PathBuf,
}

impl Target<'_> {
    fn path(&self) -> PathBuf {
        self.root.path.join(&self.below)
    }

    fn open(&self, more: OFlags) -> std::io::Result<File> {
        self.root.file(&self.below, OFlags::RDWR | more, 0o600)
    }
}

/// A run of chunks of one file.
struct Part<'a> {
    file: &'a FileEntry,
    target: &'a Target<'a>,
    offset: u64,
    chunks: &'a [Chunk],
}

/// Bring all files but the control file. Not all of them are synced yet.
///
/// # Errors
/// The first that any thread met.
pub(crate) fn restore(
    packs: &Packs<'_>,
    manifest: &Manifest,
    place: &Place,
    plan: &Plan,
    roots: &Roots,
    config: Option<&Path>,
    jobs: usize,
) -> Result<()> {
    let config = config
        .map(|path| Beneath::open(path).map_err(Error::local(format!("open {}", path.display()))));
    let config = config.transpose()?;
    let mut targets = Vec::new();
    for file in manifest.files.iter().filter(|file| !plan.kept.contains(&file.path)) {
        let target = match (file.path.strip_prefix(CONFIG), &config) {
            (Some(leaf), Some(root)) => Target { root, below: PathBuf::from(leaf) },
            (Some(_), None) => continue,
            (None, _) => {
                let path = name::to_path(&file.path).unwrap_or_default();
                let (root, below) = roots.find(&path);
                Target { root, below: below.to_owned() }
            }
        };
        prepare(file, &target, place.existing)?;
        targets.push((file, target));
    }
    let mut parts = Vec::new();
    for (file, target) in &targets {
        split(file, target, &mut parts);
    }
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let total =
        parts.iter().flat_map(|part| part.chunks).map(|chunk| u64::from(chunk.length)).sum();
    let progress = Progress::new(total);
    std::thread::scope(|scope| {
        scope.spawn(|| progress.show("restore"));
        let (written, unsynced) = mpsc::sync_channel(UNSYNCED);
        let (parts, next, stop, progress) = (&parts, &next, &stop, &progress);
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
                if bytes >= SYNC_EARLY && written.send((file, part.target)).is_err() {
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
    })?;
    // Until now they could be written to.
    targets.iter().try_for_each(|(file, target)| set_mode(file, target))
}

/// Sync what was written.
fn sync(unsynced: mpsc::Receiver<(File, &Target<'_>)>) -> Result<()> {
    unsynced.into_iter().try_for_each(|(file, target)| {
        file.sync_data().map_err(Error::local(format!("sync {}", target.path().display())))
    })
}

/// Make the file, of the right length.
fn prepare(file: &FileEntry, target: &Target<'_>, existing: Existing) -> Result<()> {
    let what = || Error::local(format!("create {}", target.path().display()));
    let opened = match target.open(OFlags::CREATE | OFlags::EXCL) {
        // Never write through a link, or into a directory that stands where a file belongs.
        Err(error) if existing == Existing::Delta && error.kind() == ErrorKind::AlreadyExists => {
            target.open(OFlags::empty()).or_else(|_| {
                target.root.remove(&target.below)?;
                target.open(OFlags::CREATE | OFlags::EXCL)
            })
        }
        opened => opened,
    };
    let opened = opened.map_err(what())?;
    if file.chunks.is_empty() {
        // Nothing is brought: what is there must not stay.
        opened.set_len(0).map_err(what())?;
    }
    opened.set_len(file.size).map_err(what())
}

/// Give the file the permissions that it had, as far as the server takes them.
fn set_mode(file: &FileEntry, target: &Target<'_>) -> Result<()> {
    let what = || Error::local(format!("set permissions of {}", target.path().display()));
    let mode = fs::Permissions::from_mode(file.mode & PERMISSIONS);
    target.open(OFlags::empty()).and_then(|opened| opened.set_permissions(mode)).map_err(what())
}

fn split<'a>(file: &'a FileEntry, target: &'a Target<'a>, parts: &mut Vec<Part<'a>>) {
    let mut offset = 0;
    for chunks in file.chunks.chunks(PART) {
        parts.push(Part { file, target, offset, chunks });
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
    let what = || Error::local(format!("write {}", part.target.path().display()));
    let file = part.target.open(OFlags::empty()).map_err(what())?;
    let (mut offset, mut written) = (part.offset, 0);
    let mut buffer = Vec::new();
    for chunk in part.chunks {
        let length = usize::try_from(chunk.length).expect("a chunk fits into memory");
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
