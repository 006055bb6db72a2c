//! Several repositories: what they mean together.
//!
//! A WAL file is acknowledged when it is durable in every *required* repository ([`push`]). The
//! others get it as soon as may be: what they lack is their backlog ([`backlog`]), which is copied
//! from a required one ([`copy`]). A file is delivered from the first repository that has it, and
//! absent only if that is known ([`fetch`]), and a recovery is judged by what all have
//! ([`archive`]). Backups, their rules and their history are each repository's own.

pub(crate) mod archive;
pub(crate) mod backlog;
pub(crate) mod copy;
pub(crate) mod fetch;
pub(crate) mod push;
pub(crate) mod spare;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;

/// Do something with each repository. What fails in one does not keep it from being done in the
/// others.
///
/// # Errors
/// The first; the others are logged.
pub(crate) fn each(context: &Context, act: impl Fn(&Context) -> Result<()>) -> Result<()> {
    if context.is_alone() {
        return act(context);
    }
    let mut outcome = Ok(());
    for one in context.each() {
        log::print(format_args!("repository {}:", one.repository()));
        match (act(&one), &outcome) {
            (Err(error), Ok(())) => outcome = Err(error),
            (Err(error), Err(_)) => log::error(&error),
            (Ok(()), _) => {}
        }
    }
    outcome
}

/// The same for what is in some of them only: it is found if it is in one.
///
/// # Errors
/// [`Error::NotFound`] when it is in none; as [`each`].
pub(crate) fn any(context: &Context, act: impl Fn(&Context) -> Result<()>) -> Result<()> {
    if context.is_alone() {
        return act(context);
    }
    let (mut found, mut missing, mut failed) = (false, None, None);
    for one in context.each() {
        match act(&one) {
            Ok(()) => found = true,
            Err(error @ Error::NotFound(_)) => missing = missing.or(Some(error)),
            Err(error) => {
                let error = error.in_repository(one.repository());
                log::error(&error);
                failed = failed.or(Some(error));
            }
        }
    }
    match (failed, missing) {
        (Some(error), _) => Err(error),
        (None, Some(error)) if !found => Err(error),
        _ => Ok(()),
    }
}

/// Refuse to guess which of several is meant.
///
/// # Errors
/// [`Error::Usage`].
pub(crate) fn one(context: &Context) -> Result<()> {
    if context.is_alone() {
        return Ok(());
    }
    let names: Vec<_> = context.config.repositories.iter().map(|one| one.name.as_str()).collect();
    Err(Error::Usage(format!("--repo says in which repository: {}", names.join(", "))))
}
