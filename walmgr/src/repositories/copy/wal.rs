//! Copying WAL, in an order that leads no recovery astray wherever it is interrupted.
//!
//! A server that recovers from the other side takes "absent" for the end, and "absent with later
//! segments there" for a hole, which stops it. So the newest segment of each timeline comes first,
//! then the histories of timelines, and then the other segments, newest first: what has not come
//! yet is a hole. A history without a later segment of its timeline would send a server past the
//! branch, on the WAL of the timeline before.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};

use super::{Both, What, keys};
use crate::error::{Error, Result};
use crate::expire::unneeded::Needs;
use crate::failpoint;
use crate::history::{History, load};
use crate::log;
use crate::repo::object::{self as stored, Hash};
use crate::repo::stanza::Stanza;
use crate::repo::{Created, LockMode, wal};
use crate::wal::name::{Segment, WalName};

/// What is written at a time.
const PIECE: usize = 256 << 10;

/// A WAL file and its key below `wal/`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    name: WalName,
    rest: String,
}

/// The WAL of one system on both sides.
pub(super) struct Wal<'a> {
    both: &'a Both<'a>,
    /// Keys below `wal/` over there.
    there: BTreeSet<String>,
    /// Those of them that are known to be whole.
    whole: BTreeSet<String>,
    lacking: Vec<File>,
    /// How many were copied.
    pub(super) copied: usize,
    /// How many were not, since they are damaged.
    pub(super) damaged: usize,
}

impl<'a> Wal<'a> {
    /// Look at both sides.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when they have other content under the same name.
    pub(super) fn list(both: &'a Both<'a>) -> Result<Self> {
        let of = |stanza: &Stanza| keys(stanza.store.as_ref(), &stanza.key("wal"));
        // In this order: what comes on both sides meanwhile is not lacking.
        let here = of(&both.source)?;
        let there: BTreeSet<String> = of(&both.target)?.into_iter().collect();
        check_same_line(both, &here, &there)?;
        let here: Vec<File> = here.into_iter().filter_map(parse).collect();
        let newest = newest(&here);
        let lacking = here.into_iter().filter(|file| !there.contains(&file.rest));
        let lacking = in_order(lacking.collect(), &newest);
        Ok(Self { both, there, whole: BTreeSet::new(), lacking, copied: 0, damaged: 0 })
    }

    /// Copy what the other side lacks.
    ///
    /// # Errors
    /// What keeps everything else from being copied as well.
    pub(super) fn copy(&mut self) -> Result<()> {
        let lacking = std::mem::take(&mut self.lacking);
        let lacking = match self.both.what {
            What::Backlog => needed(self.both, lacking)?,
            What::Everything | What::Backup | What::Wal => lacking,
        };
        lacking.iter().try_for_each(|file| self.file(file))
    }

    /// See to it that the other side has a segment, whole: a backup over there must not rest on one
    /// that is damaged.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when neither has it whole.
    pub(super) fn bring(&mut self, segment: Segment) -> Result<()> {
        let name = segment.name(self.both.source.info.wal_segment_size);
        let rest = below(&self.both.source, &WalName::Segment(name.clone()));
        let file = File { name: WalName::Segment(name.clone()), rest: rest.clone() };
        self.mend(&file)?;
        if !self.there.contains(&rest) {
            self.file(&file)?;
        }
        match self.there.contains(&rest) {
            true => Ok(()),
            false => Err(Error::Corrupt(format!("its WAL segment {name} is missing or damaged"))),
        }
    }

    /// Read a file over there that was not read yet. One that is damaged makes room for the one
    /// here, if that is whole.
    fn mend(&mut self, file: &File) -> Result<()> {
        let rest = &file.rest;
        if self.both.to.dry_run || !self.there.contains(rest) || self.whole.contains(rest) {
            return Ok(());
        }
        let (source, target) = (&self.both.source, &self.both.target);
        let verify = |stanza: &Stanza| wal::verify(stanza, &file.name, &stanza.key(&key(file)));
        match verify(target) {
            Ok(()) => drop(self.whole.insert(rest.clone())),
            Err(Error::Corrupt(why)) => {
                verify(source)?;
                // As a push does it: nobody sets aside what another has just mended.
                let lock = target.key("locks/repair");
                let _lock = target.store.lock(&lock, LockMode::Exclusive)?;
                if matches!(verify(target), Err(Error::Corrupt(_))) {
                    match target.store.set_aside(&target.key(&key(file))) {
                        // This access only adds. What does not rest on the file is copied.
                        Err(Error::Usage(refused)) => {
                            return Err(Error::Corrupt(format!("{why}; {refused}")));
                        }
                        outcome => outcome?,
                    }
                    log::warning(format_args!("{why}: set aside over there, and copied again"));
                }
                self.there.remove(rest);
                self.file(file)?;
            }
            // Expired meanwhile.
            Err(Error::NotFound(_)) => drop(self.there.remove(rest)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn file(&mut self, file: &File) -> Result<()> {
        if self.both.to.dry_run {
            log::print(format_args!("would copy {}", self.both.source.key(&key(file))));
            self.copied += 1;
            return Ok(());
        }
        match self::file(&self.both.source, &self.both.target, &file.name, &key(file)) {
            Ok(created) => {
                self.copied += usize::from(created == Created::New);
                self.there.insert(file.rest.clone());
                self.whole.insert(file.rest.clone());
            }
            // The others are whole.
            Err(Error::Corrupt(why)) => {
                log::error(Error::Corrupt(why));
                self.damaged += 1;
            }
            // Expired meanwhile.
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Copy one WAL file, verified, by its key below the stanza.
///
/// # Errors
/// [`Error::Corrupt`] for a damaged one, which is not copied; [`Error::NotFound`] for one that is
/// gone; [`Error::Mismatch`] when the other side has another of this name.
pub(crate) fn file(
    source: &Stanza,
    target: &Stanza,
    name: &WalName,
    rest: &str,
) -> Result<Created> {
    failpoint::visit("copy.wal").map_err(Error::local("copy"))?;
    let (key, to) = (source.key(rest), target.key(rest));
    let created = target.store.create(&to, &mut |sink| {
        let mut sink = BufWriter::with_capacity(PIECE, sink);
        wal::verify_tee(source, name, &key, &mut sink)?;
        sink.flush().map_err(Error::repository(format!("copy {key}")))
    })?;
    if created == Created::Exists {
        target.store.settle(&to)?;
    }
    if created == Created::Exists && !check_same(source, target, rest)? {
        return Err(Error::Corrupt(format!("{} is damaged over there", target.key(rest))));
    }
    Ok(created)
}

fn key(file: &File) -> String {
    format!("wal/{}", file.rest)
}

/// The key of a file below `wal/`.
fn below(stanza: &Stanza, name: &WalName) -> String {
    let key = wal::key(stanza, name);
    key.strip_prefix(&stanza.key("wal/")).unwrap_or(&key).to_owned()
}

/// What a key below `wal/` stands for; whatever else lies there is not WAL.
fn parse(rest: String) -> Option<File> {
    let leaf = rest.rsplit('/').next().unwrap_or(&rest);
    let name = wal::name_of(leaf)?;
    Some(File { name, rest })
}

/// The number of the newest whole segment of each timeline.
fn newest(files: &[File]) -> BTreeMap<String, String> {
    let mut newest: BTreeMap<String, String> = BTreeMap::new();
    for (timeline, number) in files.iter().filter_map(|file| whole(&file.name)) {
        let last = newest.entry(timeline.to_owned()).or_default();
        if number > last.as_str() {
            number.clone_into(last);
        }
    }
    newest
}

/// The order in which nobody is led astray.
fn in_order(mut files: Vec<File>, newest: &BTreeMap<String, String>) -> Vec<File> {
    files.sort_by_cached_key(|file| {
        let Some((timeline, number)) = file.name.segment().map(|name| name.split_at(8)) else {
            return (1, Reverse(String::new()), String::new(), file.rest.clone());
        };
        let is_newest = whole(&file.name).is_some()
            && newest.get(timeline).is_some_and(|newest| newest == number);
        // Of the newest, those of older timelines come first, as to recovery.
        let (class, number) = if is_newest { (0, "") } else { (2, number) };
        (class, Reverse(number.to_owned()), timeline.to_owned(), file.rest.clone())
    });
    files
}

/// Timeline and number of a whole segment.
fn whole(name: &WalName) -> Option<(&str, &str)> {
    match name {
        WalName::Segment(name) => Some(name.split_at(8)),
        WalName::History(_) | WalName::Backup(_) | WalName::Partial(_) => None,
    }
}

/// The files that backups over there need. Expire, which goes by the same, has removed others.
fn needed(both: &Both<'_>, files: Vec<File>) -> Result<Vec<File>> {
    let target = &both.target;
    let with_histories = |mut history: History| {
        // They come after segments that depend on them.
        match history.add_timelines(&load::timelines(&both.source)?) {
            Ok(()) => Ok(history),
            Err(timeline) => Err(Error::Mismatch(format!(
                "the history of timeline {timeline} is another one here than there"
            ))),
        }
    };
    let history = match History::load_without_wal(target).and_then(with_histories) {
        Ok(history) => history,
        // Then nothing is removed there, either.
        Err(Error::Corrupt(why)) => {
            log::warning(Error::Corrupt(why));
            return Ok(files);
        }
        Err(error) => return Err(error),
    };
    let (needs, size) = (Needs::of_all(&history), target.info.wal_segment_size);
    let segment = |file: &File| file.name.segment().and_then(|text| Segment::parse(text, size));
    let is_needed = |file: &File| segment(file).is_none_or(|segment| needs.segment(segment));
    Ok(files.into_iter().filter(is_needed).collect())
}

/// Refuse to mix the WAL of two servers: both sides have the same content where they have the same
/// histories, and, on each timeline, in the newest segment of both.
fn check_same_line(both: &Both<'_>, here: &[String], there: &BTreeSet<String>) -> Result<()> {
    let (source, target) = (&both.source, &both.target);
    let shared = here.iter().filter(|rest| there.contains(*rest)).cloned().filter_map(parse);
    let (mut seen, mut shared): (BTreeSet<String>, Vec<File>) = (BTreeSet::new(), shared.collect());
    shared.sort_by_cached_key(|file| Reverse(file.rest.clone()));
    for file in shared {
        if let WalName::History(_) = file.name {
            check_same(source, target, &key(&file))?;
        }
        if let Some((timeline, _)) = whole(&file.name)
            && !seen.contains(timeline)
            && check_same(source, target, &key(&file))?
        {
            seen.insert(timeline.to_owned());
        }
    }
    Ok(())
}

/// Hold the hashes of two objects against each other; false when one of them does not say its own.
///
/// # Errors
/// [`Error::Mismatch`].
fn check_same(source: &Stanza, target: &Stanza, rest: &str) -> Result<bool> {
    let (Some(here), Some(there)) = (hash(source, rest)?, hash(target, rest)?) else {
        return Ok(false);
    };
    match here == there {
        true => Ok(true),
        false => Err(Error::Mismatch(format!(
            "{rest} has other content here than there, so two servers have archived under the same \
             names, and their WAL must not be mixed: here {here}, there {there}"
        ))),
    }
}

fn hash(stanza: &Stanza, rest: &str) -> Result<Option<Hash>> {
    let key = stanza.key(rest);
    let Some(source) = stanza.store.open(&key)? else { return Ok(None) };
    match stored::read_meta(source.as_ref(), &key) {
        Ok(meta) => Ok(Some(meta.hash)),
        Err(Error::Corrupt(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{in_order, newest, parse};

    #[test]
    fn what_has_not_come_yet_is_a_hole() {
        let rest = |name: &str| match name.len() {
            24 => format!("{}/{}/{name}", &name[..8], &name[8..16]),
            _ => name.to_owned(),
        };
        let names = [
            "000000010000000000000003",
            "000000010000000100000004",
            "000000010000000000000005",
            "00000002.history",
            "000000020000000100000004",
            "000000020000000100000005",
            "000000020000000100000006",
            "00000003.history",
        ];
        let mut files: Vec<_> = names.iter().filter_map(|name| parse(rest(name))).collect();
        let newest = newest(&files);
        let ordered = in_order(files.clone(), &newest);
        let ordered: Vec<String> = ordered.iter().map(|file| file.name.to_string()).collect();
        assert_eq!(
            ordered,
            [
                "000000010000000100000004",
                "000000020000000100000006",
                "00000002.history",
                "00000003.history",
                "000000020000000100000005",
                "000000020000000100000004",
                "000000010000000000000005",
                "000000010000000000000003",
            ]
        );
        // Of a copy that broke off: what is the newest is so for ever.
        files.retain(|file| !file.rest.ends_with("6"));
        assert_eq!(in_order(files, &newest)[1].name.to_string(), "00000002.history");
        assert!(parse("00000001/00000000/000000010000000000000003.damaged0".to_owned()).is_none());
        assert!(parse("README".to_owned()).is_none());
    }
}
