//! Storing WAL files in every repository.
//!
//! Which content a name stands for is decided in one place, the first required repository of the
//! configuration: others get only what it has taken. Were all asked at the same time, of two
//! servers each could win somewhere, and one that lacks a file would take what the others refuse.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::context::{Context, Use};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::log;
use crate::repo::object::Written;
use crate::repo::stanza::Stanza;
use crate::repo::wal::{self, Done, How, Like, Pushed};
use crate::wal::file::WalFile;
use crate::wal::name::WalName;

/// What the first required repository has just taken.
#[derive(Clone)]
struct Taken {
    by: Context,
    /// Objects that it made of it.
    written: HashMap<WalFile, Written>,
}

/// Store one file in every repository: durable in the required ones when this returns `Ok`. Others
/// are given their patience, and may be behind after it. `systems` are those that the file is of,
/// where that is known: history files do not say it.
///
/// # Errors
/// As [`wal::push`], of the first required repository that does not have it.
pub(crate) fn everywhere(context: &Context, systems: &[u64], file: &WalFile) -> Result<Pushed> {
    if context.is_alone() {
        return one(context, systems, file, None).map(|done| done.pushed);
    }
    let (first, others) = in_turn(context)?;
    let done = caught(|| one(&first, systems, file, None));
    let done = done.map_err(|error| error.in_repository(first.repository()))?;
    let written = done.written.map(|written| (file.clone(), written)).into_iter().collect();
    let taken = Taken { by: first, written };
    let (said, heard) = mpsc::channel();
    let begin = Instant::now();
    for (at, other) in others.iter().cloned().enumerate() {
        let (said, systems, file) = (said.clone(), systems.to_vec(), file.clone());
        let taken = taken.clone();
        // Not a scope: one that hangs must not be waited for.
        thread::spawn(move || {
            // Nobody listens any more to one that was given up.
            let _ = said.send((at, caught(|| one(&other, &systems, &file, Some(&taken)))));
        });
    }
    drop(said);
    let mut outcomes: Vec<Option<Result<Done>>> = others.iter().map(|_| None).collect();
    let required = |at: usize| others.get(at).is_some_and(|one| one.config.repository.required);
    let waits = |outcomes: &[Option<Result<Done>>], of_required: bool| {
        let open =
            |(at, outcome): (usize, &Option<_>)| outcome.is_none() && required(at) == of_required;
        outcomes.iter().enumerate().any(open)
    };
    let patience = context.config.repositories.iter().filter(|one| !one.required);
    let patience = patience.map(|one| one.patience).max().unwrap_or_default();
    loop {
        let next = if waits(&outcomes, true) {
            heard.recv().ok()
        } else if waits(&outcomes, false) {
            heard.recv_timeout(patience.saturating_sub(begin.elapsed())).ok()
        } else {
            None
        };
        let Some((at, outcome)) = next else { break };
        if let Some(place) = outcomes.get_mut(at) {
            *place = Some(outcome);
        }
    }
    together(&others, outcomes, &file.name).map(|()| done.pushed)
}

/// The first required repository, and all others.
fn in_turn(context: &Context) -> Result<(Context, Vec<Context>)> {
    let mut others = context.each();
    let first = others.iter().position(|one| one.config.repository.required);
    let first = first.ok_or_else(|| Error::Usage("no repository is required".to_owned()))?;
    Ok((others.remove(first), others))
}

/// What became of a file in the others.
fn together(others: &[Context], outcomes: Vec<Option<Result<Done>>>, name: &WalName) -> Result<()> {
    let mut failed = Ok(());
    for (other, outcome) in others.iter().zip(outcomes) {
        let repository = &other.config.repository;
        let outcome = outcome.unwrap_or_else(|| {
            Err(Error::Failed(format!("{name} is not stored after {:?}", repository.patience)))
        });
        match outcome {
            Ok(_) => {}
            Err(error) if repository.required => {
                failed = failed.and(Err(error.in_repository(&repository.name)));
            }
            Err(error) => log::warning(format_args!(
                "repository \"{}\": {error}; {name} is in its backlog",
                repository.name
            )),
        }
    }
    failed
}

/// A panic is this repository's failure: unsaid, it would be waited for.
fn caught<T>(store: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(store))
        .unwrap_or_else(|_| Err(Error::Failed("walmgr has failed by a fault of its own".into())))
}

fn one(context: &Context, systems: &[u64], file: &WalFile, taken: Option<&Taken>) -> Result<Done> {
    let mut outcomes = store(context, systems, slice::from_ref(file), taken)?;
    outcomes.pop().expect("each file has its outcome")
}

/// Store several files in one repository.
fn store(
    context: &Context,
    systems: &[u64],
    files: &[WalFile],
    taken: Option<&Taken>,
) -> Result<Vec<Result<Done>>> {
    step(context)?;
    let stanza = checked(context, systems)?;
    let codec = context.config.repository.codec();
    let other = taken.and_then(|taken| other(context, taken));
    let like = taken.zip(other.as_ref());
    let like = like.map(|(taken, stanza)| Like { stanza, written: &taken.written });
    Ok(wal::push_all(&stanza, files, How { codec, like: like.as_ref() }))
}

/// The first repository, where what it made can be read back for nearly nothing. A limit would
/// count that.
fn other(context: &Context, taken: &Taken) -> Option<Stanza> {
    let is_of_use = !taken.written.is_empty() && context.config.limits.archive.is_none();
    // Without it, files are compressed once more, and that is all.
    let stanza = is_of_use.then(|| taken.by.stanza().ok()).flatten();
    stanza.filter(|stanza| stanza.store.reads_cheaply())
}

fn step(context: &Context) -> Result<()> {
    match context.config.repository.required {
        true => failpoint::visit("push.one").map_err(Error::repository("push")),
        false => Ok(()),
    }
}

fn checked(context: &Context, systems: &[u64]) -> Result<Stanza> {
    let stanza = context.limited(context.stanza()?, Use::Archive);
    for system in systems {
        stanza.check_system(*system)?;
    }
    Ok(stanza)
}

/// Store several files in the required repositories, each as by [`everywhere`]. For a process that
/// stays: it sees to the backlog of the others by itself.
///
/// # Errors
/// What concerns all of them.
pub(crate) fn required(
    context: &Context,
    systems: &[u64],
    files: &[WalFile],
) -> Result<Vec<Result<Pushed>>> {
    let (first, mut others) = in_turn(context)?;
    others.retain(|one| one.config.repository.required);
    let pushed = |outcomes: Vec<Result<Done>>| -> Vec<Result<Pushed>> {
        outcomes.into_iter().map(|outcome| outcome.map(|done| done.pushed)).collect()
    };
    if others.is_empty() {
        return store(&first, systems, files, None).map(pushed);
    }
    let named = |error: Error| error.in_repository(first.repository());
    let outcomes = store(&first, systems, files, None).map_err(named)?;
    let mut written = HashMap::new();
    // With their places in `files`.
    let (mut places, mut accepted) = (Vec::new(), Vec::new());
    for (place, (file, outcome)) in files.iter().zip(&outcomes).enumerate() {
        if let Ok(done) = outcome {
            places.push(place);
            accepted.push(file.clone());
            written.extend(done.written.map(|written| (file.clone(), written)));
        }
    }
    let mut all: Vec<_> =
        pushed(outcomes).into_iter().map(|outcome| outcome.map_err(named)).collect();
    let taken = Taken { by: first.clone(), written };
    let store = |one: &Context| store(one, systems, &accepted, Some(&taken));
    thread::scope(|scope| {
        let running: Vec<_> = others.iter().map(|one| (one, scope.spawn(|| store(one)))).collect();
        for (one, thread) in running {
            let outcomes = match thread.join() {
                Ok(outcomes) => outcomes.map_err(|error| error.in_repository(one.repository()))?,
                // The daemon's death: its clients then do without it.
                Err(panic) => std::panic::resume_unwind(panic),
            };
            for (place, outcome) in places.iter().zip(outcomes) {
                if let (Some(mine @ Ok(_)), Err(error)) = (all.get_mut(*place), outcome) {
                    *mine = Err(error.in_repository(one.repository()));
                }
            }
        }
        Ok(all)
    })
}
