//! Storing WAL files in every repository.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::context::{Context, Use};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::log;
use crate::repo::stanza::Stanza;
use crate::repo::wal::{self, Pushed};
use crate::wal::file::WalFile;
use crate::wal::name::WalName;

/// Store one file in every repository: durable in the required ones when this returns `Ok`. Others
/// are given their patience, and may be behind after it. `systems` are those that the file is of,
/// where that is known: history files do not say it.
///
/// # Errors
/// As [`wal::push`], of the first required repository that does not have it.
pub(crate) fn everywhere(context: &Context, systems: &[u64], file: &WalFile) -> Result<Pushed> {
    let systems = systems.to_vec();
    if context.is_alone() {
        return one(context, &systems, file);
    }
    let (said, heard) = mpsc::channel();
    let begin = Instant::now();
    let repositories = context.each();
    for (at, one_of) in repositories.iter().cloned().enumerate() {
        let (said, systems, file) = (said.clone(), systems.clone(), file.clone());
        // Not a scope: one that hangs must not be waited for.
        thread::spawn(move || {
            // Nobody listens any more to one that was given up.
            let _ = said.send((at, caught(|| one(&one_of, &systems, &file))));
        });
    }
    drop(said);
    let mut outcomes: Vec<Option<Result<Pushed>>> = repositories.iter().map(|_| None).collect();
    let required = |at: usize| context.config.repositories.get(at).is_some_and(|one| one.required);
    let waits = |outcomes: &[Option<Result<Pushed>>], of_required: bool| {
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
    together(context, outcomes, &file.name)
}

/// What became of a file in all of them.
fn together(
    context: &Context,
    outcomes: Vec<Option<Result<Pushed>>>,
    name: &WalName,
) -> Result<Pushed> {
    let mut first = None;
    let mut failed = None;
    for (repository, outcome) in context.config.repositories.iter().zip(outcomes) {
        let outcome = outcome.unwrap_or_else(|| {
            Err(Error::Failed(format!("{name} is not stored after {:?}", repository.patience)))
        });
        match outcome {
            Ok(pushed) if repository.required => first = first.or(Some(pushed)),
            Ok(_) => {}
            Err(error) if repository.required => {
                failed = failed.or(Some(error.in_repository(&repository.name)));
            }
            Err(error) => log::warning(format_args!(
                "repository \"{}\": {error}; {name} is in its backlog",
                repository.name
            )),
        }
    }
    match (failed, first) {
        (Some(error), _) => Err(error),
        (None, Some(pushed)) => Ok(pushed),
        (None, None) => Err(Error::Failed(format!("no required repository took {name}"))),
    }
}

/// A panic is this repository's failure: unsaid, it would be waited for.
fn caught<T>(store: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(store))
        .unwrap_or_else(|_| Err(Error::Failed("walmgr has failed by a fault of its own".into())))
}

fn one(context: &Context, systems: &[u64], file: &WalFile) -> Result<Pushed> {
    step(context)?;
    let stanza = checked(context, systems)?;
    wal::push(&stanza, file, context.config.repository.codec())
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
    let systems = systems.to_vec();
    let required = |one: &Context| one.config.repository.required;
    let repositories: Vec<Context> = context.each().into_iter().filter(required).collect();
    let store = |one: &Context| -> Result<Vec<Result<Pushed>>> {
        step(one)?;
        let stanza = checked(one, &systems)?;
        Ok(wal::push_all(&stanza, files, one.config.repository.codec()))
    };
    let (last, others) = match repositories.split_last() {
        Some((last, [])) => return store(last),
        Some(split) => split,
        None => return Err(Error::Usage("no repository is required".to_owned())),
    };
    thread::scope(|scope| {
        let running: Vec<_> = others.iter().map(|one| (one, scope.spawn(|| store(one)))).collect();
        let mut all = store(last).map_err(|error| error.in_repository(last.repository()))?;
        for (one, thread) in running {
            let outcomes = match thread.join() {
                Ok(outcomes) => outcomes.map_err(|error| error.in_repository(one.repository()))?,
                // The daemon's death: its clients then do without it.
                Err(panic) => std::panic::resume_unwind(panic),
            };
            for (mine, outcome) in all.iter_mut().zip(outcomes) {
                if let (Ok(_), Err(error)) = (&mine, outcome) {
                    *mine = Err(error.in_repository(one.repository()));
                }
            }
        }
        Ok(all)
    })
}
