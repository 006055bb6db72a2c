//! Fetching WAL files from whichever repository has them.
//!
//! "Absent" ends a recovery, so it must be known. Every repository that answers must say it; and
//! where one does not answer, a *required* one must have the file before the one that is asked for:
//! the segment; before a timeline's first, its history; before that, the history of the timeline
//! before. Whatever was acknowledged after that is in it, too.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::repo::stanza::Stanza;
use crate::repo::wal::{self, Fetched};
use crate::wal::name::{Segment, WalName};

/// How long one that failed is asked after the others.
const LAST: Duration = Duration::from_secs(60);

/// When repositories failed, for a process that stays.
static FAILED: Mutex<Option<HashMap<String, Instant>>> = Mutex::new(None);

/// Fetch a file for the server in a data directory from the first repository that has it.
///
/// # Errors
/// As [`wal::fetch`]; of the first repository that did not answer, where no other one's answer
/// stands for it.
pub(crate) fn fetch(
    context: &Context,
    data: Option<&Path>,
    name: &WalName,
    to: &Path,
) -> Result<Fetched> {
    if context.is_alone() {
        return wal::fetch(&context.stanza_of(data)?, name, to);
    }
    let mut repositories = context.each();
    repositories.sort_by_key(has_failed);
    let mut error = None;
    let mut hole = false;
    let mut known_absent = false;
    for one in &repositories {
        let opened = one.stanza_of(data);
        let answer = opened.and_then(|stanza| Ok((wal::fetch(&stanza, name, to)?, stanza)));
        note(one, answer.is_err());
        match answer {
            Ok((Fetched::Delivered, _)) => {
                if let Some(error) = error {
                    let from = one.repository();
                    log::warning(format_args!("{error}; {name} is from repository \"{from}\""));
                }
                return Ok(Fetched::Delivered);
            }
            Ok((Fetched::Hole, _)) => hole = true,
            Ok((Fetched::Absent, stanza)) => {
                known_absent |= one.config.repository.required && follows(&stanza, name);
            }
            Err(failure) => {
                let failure = failure.in_repository(one.repository());
                if let Some(before) = error.replace(failure) {
                    log::warning(&before);
                    error = Some(before);
                }
            }
        }
    }
    match error {
        // Something is missing: that is worse than one that is away.
        _ if hole => Ok(Fetched::Hole),
        None => Ok(Fetched::Absent),
        Some(error) if known_absent => {
            log::warning(format_args!("{error}; a required repository does not have {name}"));
            Ok(Fetched::Absent)
        }
        Some(error) => Err(error),
    }
}

/// True when the file before this one is there. What cannot be read is not known to be there.
fn follows(stanza: &Stanza, name: &WalName) -> bool {
    match name {
        WalName::Segment(text) => {
            let size = stanza.info.wal_segment_size;
            let Some(segment) = Segment::parse(text, size) else { return false };
            has_before(stanza, segment, 1).unwrap_or(false)
                || has_begun_here(stanza, segment).unwrap_or(false)
        }
        // The first timeline has no history.
        WalName::History(2) => wal::segments(stanza, 1).is_ok_and(|found| !found.is_empty()),
        WalName::History(timeline) => {
            let before = WalName::History(timeline.saturating_sub(1));
            stanza.store.open(&wal::key(stanza, &before)).is_ok_and(|found| found.is_some())
        }
        WalName::Backup(_) | WalName::Partial(_) => false,
    }
}

/// True when the segment so many before one is there.
fn has_before(stanza: &Stanza, segment: Segment, by: u64) -> Result<bool> {
    let number = segment.number.checked_sub(by);
    number.map_or(Ok(false), |number| wal::has_segment(stanza, Segment { number, ..segment }))
}

/// True when the file before a segment is its timeline's history: it is the timeline's first. So
/// that a copy that has brought no more than histories is not taken for the whole, two segments of
/// the timeline that was left must be there, too: a copy brings only the newest of them before the
/// newest of each timeline.
fn has_begun_here(stanza: &Stanza, segment: Segment) -> Result<bool> {
    let Some(left) = wal::ancestors(stanza, segment.timeline)?.pop() else { return Ok(false) };
    let last = left.end.segment(left.timeline, stanza.info.wal_segment_size);
    Ok(last.number == segment.number
        && has_before(stanza, last, 1)?
        && has_before(stanza, last, 2)?)
}

fn note(context: &Context, failed: bool) {
    let mut failures = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    let failures = failures.get_or_insert_default();
    match failed {
        true => failures.insert(context.repository().to_owned(), Instant::now()),
        false => failures.remove(context.repository()),
    };
}

fn has_failed(context: &Context) -> bool {
    let failures = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    let of = failures.as_ref().and_then(|failures| failures.get(context.repository()));
    of.is_some_and(|when| when.elapsed() < LAST)
}

/// Do something with the first repository in which it can be done. Errors of the caller's own
/// making, of the server and of this host are the same everywhere.
///
/// # Errors
/// The first, when no repository does; the others are logged.
pub(crate) fn first<T>(context: &Context, act: impl Fn(&Context) -> Result<T>) -> Result<T> {
    if context.is_alone() {
        return act(context);
    }
    let mut first: Option<Error> = None;
    for one in context.each() {
        match act(&one) {
            Ok(found) => return Ok(found),
            Err(error @ (Error::Usage(_) | Error::Server(_) | Error::Local { .. })) => {
                return Err(error);
            }
            Err(error) => {
                let error = error.in_repository(one.repository());
                log::warning(&error);
                first = first.or(Some(error));
            }
        }
    }
    Err(first.unwrap_or_else(|| Error::Usage("no repository is configured".to_owned())))
}

/// The first repository that has what is wanted, said where there are several; and what was found.
///
/// # Errors
/// As [`first`].
pub(crate) fn choose<T>(
    context: &Context,
    find: impl Fn(&Context) -> Result<T>,
) -> Result<(Context, T)> {
    let chosen = first(context, |one| Ok((one.clone(), find(one)?)))?;
    if !context.is_alone() {
        log::notice(format_args!("from repository \"{}\"", chosen.0.repository()));
    }
    Ok(chosen)
}
