//! Copying: threads take parts of files from a queue, and write the chunks that are not stored yet
//! into packs of their own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::backup::manifest::{CHUNK, Chunk, FileEntry};
use crate::backup::pack::{Packer, Writer};
use crate::backup::progress::Progress;
use crate::backup::read::Packs;
use crate::backup::scan::Found;
use crate::backup::unit::{PageCheck, UNIT, Unit};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::log;
use crate::repo::object::{Codec, Hash};
use crate::repo::stanza::Stanza;

/// What a copy needs to know.
pub(crate) struct Settings {
    /// Name of the backup.
    pub(crate) id: String,
    /// Compression of new packs.
    pub(crate) codec: Codec,
    /// Number of threads.
    pub(crate) jobs: usize,
    /// How pages are checked.
    pub(crate) check: PageCheck,
}

/// Chunks that are stored already, and the packs they are in.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Keys of packs, relative to the stanza.
    pub(crate) packs: Vec<String>,
    /// By content.
    pub(crate) chunks: HashMap<Hash, (Chunk, Proof)>,
    /// All places of the chunks that the backup to build on promises.
    pub(crate) promised: HashMap<Hash, Vec<Chunk>>,
}

/// What is known of a stored chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It was read back, or has just been written.
    Sound,
    /// It is said to be there. Should it be damaged, it is stored anew.
    Said,
    /// It is said to be there by the backup that this one is to build on. Should it be damaged,
    /// there is nothing to build on.
    Promised,
}

/// The result.
pub(crate) struct Copied {
    /// Files in the order they were given; those that vanished are left out.
    pub(crate) files: Vec<FileEntry>,
    /// Keys of all packs, old and new.
    pub(crate) packs: Vec<String>,
    /// Bytes of new packs.
    pub(crate) added: u64,
    /// `path:block` of pages with a wrong checksum.
    pub(crate) damaged: Vec<String>,
    recent: Vec<(String, u64)>,
}

/// Pages that are not as they should be.
#[derive(Default)]
struct Pages {
    /// `path:block` of pages with a wrong checksum.
    damaged: Vec<String>,
    /// The same of pages that claim to be younger than the backup, and their positions.
    recent: Vec<(String, u64)>,
}

/// No more damaged pages than this are remembered: a few megabytes of names.
const MANY: usize = 100_000;

impl Copied {
    /// Judge the pages that claim to be young: beyond the end of the backup there is no WAL that
    /// could replace them.
    pub(crate) fn judge(&mut self, stop: u64) {
        let impossible = self.recent.drain(..).filter(|(_, lsn)| *lsn > stop);
        self.damaged.extend(impossible.map(|(page, _)| page));
        self.damaged.sort_unstable();
        self.damaged.truncate(MANY);
    }

    /// Names of other backups whose packs are used.
    pub(crate) fn shares_with(&self, id: &str) -> Vec<String> {
        let used: BTreeSet<u32> =
            self.files.iter().flat_map(|file| &file.chunks).map(|chunk| chunk.pack).collect();
        let packs = self.packs.iter().zip(0_u32..).filter(|(_, number)| used.contains(number));
        let others: BTreeSet<&str> = packs
            .filter_map(|(pack, _)| pack.split('/').nth(1))
            .filter(|other| *other != id)
            .collect();
        others.into_iter().map(str::to_owned).collect()
    }
}

/// Copy files into packs.
///
/// # Errors
/// The first that any thread met.
pub(crate) fn copy(
    stanza: &Stanza,
    files: &[Found],
    known: Known,
    settings: &Settings,
) -> Result<Copied> {
    let parts: Vec<(usize, u64)> = files
        .iter()
        .enumerate()
        .flat_map(|(file, found)| {
            (0..found.size.div_ceil(UNIT).max(1)).map(move |part| (file, part))
        })
        .collect();
    let first_new = number(known.packs.len());
    let old_packs = known.packs.clone();
    let shared = Shared {
        old: Packs::of(stanza, &old_packs),
        stanza,
        settings,
        files,
        parts: &parts,
        next: AtomicUsize::new(0),
        next_pack: AtomicU32::new(first_new),
        first_new,
        added: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        chunks: Mutex::new(known.chunks),
        results: Mutex::new(HashMap::new()),
        promised: Mutex::new(known.promised),
        pages: Mutex::default(),
        progress: Progress::new(files.iter().map(|file| file.size).sum()),
    };
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| shared.progress.show("backup"));
        let workers: Vec<_> =
            (0..settings.jobs).map(|_| scope.spawn(|| Worker::new(&shared)?.run())).collect();
        let mut outcome = Ok(());
        for worker in workers {
            let ended = worker
                .join()
                .unwrap_or_else(|_| Err(Error::Failed("a copying thread panicked".to_owned())));
            outcome = outcome.and(ended);
        }
        shared.progress.finish();
        outcome
    });
    outcome?;
    let mut packs = known.packs;
    for number in first_new..shared.next_pack.load(Ordering::Relaxed) {
        packs.push(pack_key(&settings.id, number - first_new));
    }
    let results = into_inner(shared.results);
    let pages = into_inner(shared.pages);
    Ok(Copied {
        files: assemble(files, &parts, results),
        packs,
        added: shared.added.load(Ordering::Relaxed),
        damaged: pages.damaged,
        recent: pages.recent,
    })
}

/// Key of the n-th pack of a backup, relative to the stanza.
fn pack_key(id: &str, number: u32) -> String {
    format!("pack/{id}/{number:05}")
}

/// The number of a pack.
pub(crate) fn number(at: usize) -> u32 {
    u32::try_from(at).expect("there are not as many packs in any memory")
}

/// Put the parts of each file together.
fn assemble(
    files: &[Found],
    parts: &[(usize, u64)],
    mut results: HashMap<(usize, u64), Part>,
) -> Vec<FileEntry> {
    let mut entries: Vec<Option<(FileEntry, bool)>> = files.iter().map(|_| None).collect();
    for part in parts {
        let Some(result) = results.remove(part) else { continue };
        let Some((found, slot)) = files.get(part.0).zip(entries.get_mut(part.0)) else { continue };
        let (entry, ended) = slot.get_or_insert_with(|| {
            let entry = FileEntry {
                path: found.path.clone(),
                size: 0,
                mode: found.mode,
                mtime: found.mtime,
                crc: 0,
                chunks: Vec::new(),
            };
            (entry, part.1 > 0)
        });
        // Once a file has turned out shorter, later parts are of its past; replay truncates it as
        // well.
        if *ended {
            continue;
        }
        let length = usize::try_from(result.length).expect("a part is no longer than a unit");
        entry.crc = crc32c::crc32c_combine(entry.crc, result.crc, length);
        entry.size += result.length;
        entry.chunks.extend(result.chunks);
        *ended = result.length < UNIT;
    }
    entries.into_iter().flatten().map(|(entry, _)| entry).collect()
}

#[derive(Debug, Default)]
struct Part {
    chunks: Vec<Chunk>,
    length: u64,
    crc: u32,
}

struct Shared<'a> {
    old: Packs<'a>,
    stanza: &'a Stanza,
    settings: &'a Settings,
    files: &'a [Found],
    parts: &'a [(usize, u64)],
    next: AtomicUsize,
    next_pack: AtomicU32,
    first_new: u32,
    added: AtomicU64,
    stop: AtomicBool,
    chunks: Mutex<HashMap<Hash, (Chunk, Proof)>>,
    results: Mutex<HashMap<(usize, u64), Part>>,
    promised: Mutex<HashMap<Hash, Vec<Chunk>>>,
    pages: Mutex<Pages>,
    progress: Progress,
}

/// One thread: what it is reading, and the chunk it has read that starts the next pack.
struct Worker<'a> {
    shared: &'a Shared<'a>,
    packer: Packer,
    buffer: Vec<u8>,
    current: Option<((usize, u64), Unit<'a>, Part)>,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared<'a>) -> Result<Self> {
        let packer = Packer::new(shared.settings.codec)?;
        Ok(Self { shared, packer, buffer: vec![0; CHUNK], current: None })
    }

    fn run(mut self) -> Result<()> {
        let outcome = self.fill_packs().and_then(|()| self.prove_the_rest());
        if outcome.is_err() {
            self.shared.stop.store(true, Ordering::Relaxed);
        }
        outcome
    }

    fn fill_packs(&mut self) -> Result<()> {
        let full = self.shared.stanza.store.pack_size();
        while let Some(first) = self.next_new()? {
            let number = self.shared.next_pack.fetch_add(1, Ordering::Relaxed);
            let key = pack_key(&self.shared.settings.id, number - self.shared.first_new);
            let key = self.shared.stanza.key(&key);
            let mut first = Some(first);
            self.shared.stanza.store.create(&key, &mut |sink| {
                let mut writer = Writer::begin(sink, number, self.shared.settings.codec)?;
                let mut new = first.take();
                while let Some((hash, length)) = new {
                    let content = self.buffer.get(..length).expect("the buffer has what was read");
                    let stored = self.packer.pack(content)?;
                    let length = u32::try_from(length).expect("a chunk is short");
                    let chunk = writer.append(hash, length, &stored)?;
                    lock(&self.shared.chunks).insert(hash, (chunk, Proof::Sound));
                    self.take(chunk);
                    failpoint::visit("backup.chunk").map_err(Error::repository("write pack"))?;
                    new = if writer.size() < full { self.next_new()? } else { None };
                }
                let size = writer.finish()?;
                self.shared.added.fetch_add(size, Ordering::Relaxed);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Read on to the next chunk that is stored nowhere yet: it is in the buffer, its hash and
    /// length are returned.
    fn next_new(&mut self) -> Result<Option<(Hash, usize)>> {
        loop {
            if self.shared.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if self.current.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some((_, unit, part)) = &mut self.current else { continue };
            let length = unit.next(&mut self.buffer)?;
            if length == 0 {
                self.close();
                continue;
            }
            let content = self.buffer.get(..length).expect("the buffer has what was read");
            part.crc = crc32c::crc32c_append(part.crc, content);
            self.shared.progress.add(length);
            let hash = Hash::of(content);
            // Two threads may store the same chunk at the same time; that costs a little space and
            // nothing else.
            let known = lock(&self.shared.chunks).get(&hash).copied();
            let sound = match known {
                Some((chunk, proof)) => self.prove(chunk, proof)?,
                None => None,
            };
            match sound {
                Some(chunk) => self.take(chunk),
                None => return Ok(Some((hash, length))),
            }
        }
    }

    /// A chunk that is stored already, if it is; read back where that costs little.
    fn prove(&self, chunk: Chunk, proof: Proof) -> Result<Option<Chunk>> {
        if proof == Proof::Sound || !self.shared.stanza.store.reads_cheaply() {
            return Ok(Some(chunk));
        }
        if proof == Proof::Promised {
            let places = lock(&self.shared.promised).remove(&chunk.hash);
            self.prove_promise(&places.unwrap_or_default())?;
        } else if let Err(error) = self.shared.old.read(&chunk) {
            let Error::Corrupt(why) = error else { return Err(error) };
            log::warning(format_args!("{why}; it is stored anew"));
            lock(&self.shared.chunks).remove(&chunk.hash);
            return Ok(None);
        }
        lock(&self.shared.chunks).insert(chunk.hash, (chunk, Proof::Sound));
        Ok(Some(chunk))
    }

    /// Read what the backup to build on promises.
    fn prove_promise(&self, places: &[Chunk]) -> Result<()> {
        for chunk in places {
            self.shared.old.read(chunk).map_err(|error| match error {
                Error::Corrupt(why) => Error::Corrupt(format!(
                    "the backup that this one is to build on is damaged (take one that does not): {why}"
                )),
                error => error,
            })?;
        }
        Ok(())
    }

    /// What it promises, and this one has no use for: a damaged backup is known to be one as soon
    /// as somebody looks.
    fn prove_the_rest(&self) -> Result<()> {
        while self.shared.stanza.store.reads_cheaply() && !self.shared.stop.load(Ordering::Relaxed)
        {
            let mut promised = lock(&self.shared.promised);
            let Some(hash) = promised.keys().next().copied() else { break };
            let places = promised.remove(&hash).unwrap_or_default();
            drop(promised);
            self.prove_promise(&places)?;
        }
        Ok(())
    }

    fn take(&mut self, chunk: Chunk) {
        if let Some((_, _, part)) = &mut self.current {
            part.length += u64::from(chunk.length);
            part.chunks.push(chunk);
        }
    }

    fn open_next(&mut self) -> Result<bool> {
        loop {
            let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
            let Some(id) = self.shared.parts.get(number).copied() else { return Ok(false) };
            let Some(found) = self.shared.files.get(id.0) else { return Ok(false) };
            if let Some(unit) = Unit::open(found, id.1, self.shared.settings.check)? {
                self.current = Some((id, unit, Part::default()));
                return Ok(true);
            }
        }
    }

    fn close(&mut self) {
        if let Some((id, unit, part)) = self.current.take() {
            let mut pages = lock(&self.shared.pages);
            if pages.damaged.len() < MANY {
                pages.damaged.extend(unit.damaged);
            }
            if pages.recent.len() < MANY {
                pages.recent.extend(unit.recent);
            }
            drop(pages);
            lock(&self.shared.results).insert(id, part);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
