//! WAL files of an old archive into the new one, by several threads.

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::adopt::{Refused, layout};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::repo::stanza::Stanza;
use crate::repo::wal::{self, How, Pushed};
use crate::wal::file::WalFile;
use crate::wal::name::{Segment, WalName};

/// Take over the whole segments, history and backup history files of `logs.complete`.
///
/// # Errors
/// Only trouble with the repository or the directory; a bad file is left out.
pub(crate) fn complete(
    context: &Context,
    stanza: &Stanza,
    directory: &Path,
    refused: &mut Refused,
) -> Result<()> {
    let mut candidates = Vec::new();
    for file in layout::wal_files(directory)? {
        let path = directory.join(&file);
        match WalFile::at(path.clone()) {
            Ok(file) => candidates.push(file),
            Err(why) => refused.add(&path.display().to_string(), why)?,
        }
    }
    take(context, stanza, directory, &candidates, refused)
}

/// Take over growing segments of `logs.partial` as what they are, `.partial` files, unless the
/// whole segment is archived.
///
/// # Errors
/// As [`complete`].
pub(crate) fn partial(
    context: &Context,
    stanza: &Stanza,
    directory: &Path,
    refused: &mut Refused,
) -> Result<()> {
    let mut candidates = Vec::new();
    for file in layout::wal_files(directory)? {
        let path = directory.join(&file);
        match Segment::parse(&file, stanza.info.wal_segment_size) {
            Some(segment) if wal::has_segment(stanza, segment)? => {
                log::debug(format_args!("{} is archived as a whole", path.display()));
            }
            Some(_) => candidates.push(WalFile { path, name: WalName::Partial(file) }),
            None => {
                let why = Error::Usage(format!("\"{file}\" is not the name of a segment"));
                refused.add(&path.display().to_string(), why)?;
            }
        }
    }
    take(context, stanza, directory, &candidates, refused)
}

fn take(
    context: &Context,
    stanza: &Stanza,
    directory: &Path,
    candidates: &[WalFile],
    refused: &mut Refused,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new((0_usize, 0_usize, Vec::new()));
    let work = || {
        while let Some(candidate) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = if context.dry_run {
                wal::check_local(stanza, &candidate.name, &candidate.path).map(|()| Pushed::Stored)
            } else {
                let how = How { codec: context.config.repository.codec(), like: None };
                wal::push(stanza, candidate, how).map(|done| done.pushed)
            };
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(Pushed::AlreadyThere) => outcomes.1 += 1,
                Ok(Pushed::Stored | Pushed::Replaced) => outcomes.0 += 1,
                Err(why) => {
                    if let Error::Repository { .. } = why {
                        // The others would meet the same.
                        next.store(candidates.len(), Ordering::Relaxed);
                    }
                    outcomes.2.push((candidate, why));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..context.config.backup.jobs {
            scope.spawn(work);
        }
    });
    let (stored, there, mut bad) = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    bad.sort_unstable_by(|a, b| a.0.path.cmp(&b.0.path));
    for (candidate, why) in bad {
        refused.add(&candidate.path.display().to_string(), why)?;
    }
    let place = directory.display();
    if context.dry_run {
        log::print(format_args!("would store {stored} WAL files of {place}"));
    } else {
        log::notice(format_args!("{place}: {stored} WAL files stored, {there} were there already"));
    }
    Ok(())
}
