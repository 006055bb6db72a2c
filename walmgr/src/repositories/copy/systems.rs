//! Which system's part of one stanza goes to which part of the other. Both number the systems that
//! they have had in order, each from the first that it saw.

use super::{Both, What, usage};
use crate::context::Context;
use crate::error::Result;
use crate::log;
use crate::repo::LockMode;
use crate::repo::stanza::Stanza;

/// What both sides have of each system. An explicit copy makes the other's stanza where there is
/// none, and its part of a system that came after all that it has.
///
/// # Errors
/// [`crate::error::Error::Mismatch`] when the other has none of these systems, or is ahead;
/// [`crate::error::Error::Repository`] when there is no such repository.
pub(super) fn pairs<'a>(from: &Context, to: &'a Context, what: What) -> Result<Vec<Both<'a>>> {
    let sources = from.systems()?;
    if what != What::Backlog && !make_stanza(&sources, to)? {
        return Ok(Vec::new());
    }
    let there = to.stanza()?;
    let identifier = |stanza: &Stanza| stanza.info.system_identifier;
    let present = identifier(&there);
    let knows = |system: &Stanza| {
        present == identifier(system)
            || there.earlier().any(|one| one.system_identifier == identifier(system))
    };
    let Some(last) = sources.iter().rposition(knows) else {
        return sources.iter().try_for_each(|one| there.check_system(identifier(one))).map(|()| {
            // A stanza has had one system at least, which was refused.
            Vec::new()
        });
    };
    let newer: Vec<u64> = sources.iter().skip(last + 1).map(identifier).collect();
    if let Some(first) = newer.first()
        && (what == What::Backlog || !sources.iter().any(|one| identifier(one) == present))
    {
        there.check_system(*first)?;
    }
    let mut pairs = Vec::new();
    for (at, source) in sources.into_iter().enumerate() {
        let system = identifier(&source);
        if at > last {
            if to.dry_run {
                log::print(format_args!("would upgrade the stanza to system {system}"));
                continue;
            }
            let there = to.stanza()?;
            let _backup = there.store.lock(&there.key("locks/backup"), LockMode::Exclusive)?;
            there.upgrade(&source.info)?;
        } else if !knows(&source) {
            log::notice(format_args!(
                "nothing of system {system} is copied: repository \"{}\" is of later ones",
                to.repository()
            ));
            continue;
        }
        let target = to.limited(to.stanza()?.of(system)?, usage(what));
        pairs.push(Both { source, target, to, what });
    }
    Ok(pairs)
}

/// Make the stanza if there is none; false in a dry run that would.
fn make_stanza(sources: &[Stanza], to: &Context) -> Result<bool> {
    let store = to.store()?;
    let name = &to.config.stanza;
    if store.open(&format!("{name}/stanza.json"))?.is_some() {
        return Ok(true);
    }
    if to.dry_run {
        log::print(format_args!(
            "would make stanza \"{name}\" in repository \"{}\", and copy everything",
            to.repository()
        ));
        return Ok(false);
    }
    let Some((first, later)) = sources.split_first() else { return Ok(false) };
    Stanza::create(store, name, &first.info)?;
    log::notice(format_args!("stanza \"{name}\" made in repository \"{}\"", to.repository()));
    later.iter().try_for_each(|system| to.stanza()?.upgrade(&system.info)).map(|()| true)
}
