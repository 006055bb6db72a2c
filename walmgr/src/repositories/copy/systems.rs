//! Which system's part of one stanza goes to which part of the other. Both number the systems that
//! they have had in order, each from the first that it saw.

use super::{Both, What, usage};
use crate::context::Context;
use crate::error::Result;
use crate::log;
use crate::repo::LockMode;
use crate::repo::sealed;
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
///
/// # Errors
/// [`crate::error::Error::Key`] when the repository is encrypted, and the settings have no key.
fn make_stanza(sources: &[Stanza], to: &Context) -> Result<bool> {
    let encryption = to.config.repository.encryption.as_ref();
    let store = match encryption {
        Some(_) => to.store()?,
        // The first object written would be plain in an encrypted repository.
        None => sealed::init(to.bare_store()?, None)?,
    };
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::{What, pairs};
    use crate::config::Config;
    use crate::context::Context;
    use crate::pg::transport::Transport;
    use crate::repo::stanza::{FORMAT, Stanza, StanzaInfo};

    /// The bytes 1, 2, 3, … 32.
    const KEY: &str = "WALMGR-KEY-1:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA+y0qO\n";

    /// Contexts of the repositories `a` and `b`, and what the configuration says of `b`.
    fn contexts(top: &Path, of_b: &str) -> (Context, Context) {
        let file = top.join("walmgr.toml");
        let place = |name: &str| {
            format!("[[repository]]\nname = '{name}'\npath = '{}'\n", top.join(name).display())
        };
        let text = format!("stanza = 'main'\n{}{}{of_b}\n", place("a"), place("b"));
        std::fs::write(&file, text).unwrap();
        let mut both =
            Context::new(Config::load(&file).unwrap(), Transport::Plain, false).each().into_iter();
        (both.next().unwrap(), both.next().unwrap())
    }

    #[test]
    fn nothing_is_written_to_an_encrypted_repository_without_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let key = top.join("key");
        std::fs::write(&key, KEY).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let sealed = format!("encryption.key_file = '{}'", key.display());
        let (a, b) = contexts(top, &sealed);
        let info = StanzaInfo {
            format: FORMAT,
            system_identifier: 1,
            wal_segment_size: 1 << 20,
            pg_version: 15,
        };
        Stanza::create(a.init_store().unwrap(), "main", &info).unwrap();
        b.init_store().unwrap();
        let (a, without) = contexts(top, "");
        let refused = pairs(&a, &without, What::Everything).err().unwrap();
        assert_eq!(refused.exit_code(), 11, "{refused}");
        assert!(!top.join("b/main").exists(), "something was written");
        let (a, b) = contexts(top, &sealed);
        assert_eq!(pairs(&a, &b, What::Everything).unwrap().len(), 1);
        assert!(!std::fs::read(top.join("b/main/stanza.json")).unwrap().starts_with(b"{"));
    }
}
