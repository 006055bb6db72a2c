//! A section: its keys are taken, typed and with references resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::error::Error;
use crate::file::Ini;
use crate::format::{Format, Piece, Reference};
use crate::home::expand_home;
use crate::parse::{Options, Value};

/// How deep references may lead to further references.
const MAX_DEPTH: usize = 10;

/// How much a value may grow by references, in bytes and pieces.
const MAX_GROWTH: usize = 1 << 20;

/// A section, with `[DEFAULT]` and the implicit variables behind it.
///
/// Whatever reads a key takes it; [`Section::end`] refuses what nobody took. A value that is empty
/// counts as not set.
#[derive(Clone, Debug)]
pub struct Section<'i> {
    ini: &'i Ini,
    name: &'i str,
    own: &'i Options,
    implicit: BTreeMap<&'static str, Value>,
    format: Format,
    taken: BTreeSet<String>,
}

impl Ini {
    /// A section, to take its keys.
    ///
    /// # Errors
    /// [`Error::Wrong`] when there is no such section, or its `config_format` is unknown.
    pub fn section(&self, name: &str) -> Result<Section<'_>, Error> {
        Section::in_format(self, name, Format::Percent)?.in_own_format()
    }

    /// The same of a section that need not be there: then it has what `[DEFAULT]` says.
    ///
    /// # Errors
    /// [`Error::Wrong`] when its `config_format` is unknown.
    pub fn section_or_default<'i>(&'i self, name: &'i str) -> Result<Section<'i>, Error> {
        let (name, own) = self.options(name).unwrap_or_else(|| (name, self.defaults()));
        Section::of(self, name, own, Format::Percent).in_own_format()
    }
}

impl<'i> Section<'i> {
    fn in_own_format(mut self) -> Result<Self, Error> {
        if let Some(number) = self.literal("config_format") {
            self.format = Format::of_number(&number).ok_or_else(|| {
                self.wrong("config_format", format!("\"{number}\" is neither 1 nor 2"))
            })?;
        }
        Ok(self)
    }

    fn in_format(ini: &'i Ini, name: &str, format: Format) -> Result<Self, Error> {
        let Some((name, own)) = ini.options(name) else {
            return Err(Error::Wrong(format!("{}: no section [{name}]", ini.path().display())));
        };
        Ok(Self::of(ini, name, own, format))
    }

    fn of(ini: &'i Ini, name: &'i str, own: &'i Options, format: Format) -> Self {
        let path = ini.path();
        let text = |part: Option<&OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let implicit = [
            ("job_name", text(path.file_stem())),
            ("service_name", name.to_owned()),
            ("host_name", host),
            ("config_dir", text(path.parent().map(Path::as_os_str))),
            ("config_file", text(Some(path.as_os_str()))),
        ];
        let value = |(name, text)| (name, Value { text, is_disputed: false });
        let implicit = implicit.into_iter().map(value).collect();
        Self { ini, name, own, implicit, format, taken: BTreeSet::new() }
    }

    fn raw(&self, key: &str) -> Option<&Value> {
        let file = self.own.get(key).or_else(|| self.ini.defaults().get(key));
        file.or_else(|| self.implicit.get(key))
    }

    /// The section's name.
    pub fn name(&self) -> &'i str {
        self.name
    }

    /// The error that a value is wrong.
    pub fn wrong(&self, key: &str, what: impl std::fmt::Display) -> Error {
        let path = self.ini.path().display();
        Error::Wrong(format!("{path}: [{}] {key}: {what}", self.name))
    }

    /// A value, with references replaced.
    ///
    /// # Errors
    /// [`Error::Wrong`] for a reference to nothing, one that never ends or makes the value larger
    /// than 1 MB, a lone `%` (`$`), or a `;` after a space.
    pub fn take(&mut self, key: &str) -> Result<Option<String>, Error> {
        let mut taken = BTreeSet::from([key.to_owned()]);
        let resolved = match self.raw(key) {
            Some(value) => self.resolve(key, value, &mut taken, 1, &mut 0).map(Some),
            None => Ok(None),
        };
        self.taken.append(&mut taken);
        Ok(resolved?.filter(|text| !text.is_empty()))
    }

    /// A value as it is written, `%` and all.
    pub fn literal(&mut self, key: &str) -> Option<String> {
        self.taken.insert(key.to_owned());
        self.raw(key).map(|value| value.text.clone()).filter(|text| !text.is_empty())
    }

    /// Take a key whose value has no effect, and those that it refers to; nothing is wrong with
    /// any. True when it is set.
    pub fn ignore(&mut self, key: &str) -> bool {
        let mut taken = BTreeSet::from([key.to_owned()]);
        let value = self.raw(key);
        value.into_iter().for_each(|value| self.follow(value, &mut taken));
        let is_set = value.is_some_and(|value| !value.text.is_empty());
        self.taken.append(&mut taken);
        is_set
    }

    /// A value that must be there.
    ///
    /// # Errors
    /// [`Error::Wrong`] when it is not; as [`Section::take`].
    pub fn require(&mut self, key: &str) -> Result<String, Error> {
        self.take(key)?.ok_or_else(|| self.wrong(key, "required, but not set"))
    }

    /// A number.
    ///
    /// # Errors
    /// [`Error::Wrong`] when it is none; as [`Section::take`].
    pub fn number<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.take(key)? else { return Ok(None) };
        let number =
            text.parse().map_err(|_| self.wrong(key, format!("\"{text}\" is not a number")));
        number.map(Some)
    }

    /// Seconds, with fractions.
    ///
    /// # Errors
    /// [`Error::Wrong`] when it is no number, or a negative one; as [`Section::take`].
    pub fn seconds(&mut self, key: &str) -> Result<Option<Duration>, Error> {
        let Some(seconds) = self.number::<f64>(key)? else { return Ok(None) };
        let duration = Duration::try_from_secs_f64(seconds);
        let duration =
            duration.map_err(|_| self.wrong(key, "must be a number of seconds, not negative"));
        duration.map(Some)
    }

    /// A boolean: 1/0, yes/no, true/false, on/off.
    ///
    /// # Errors
    /// [`Error::Wrong`] when it is none; as [`Section::take`].
    pub fn boolean(&mut self, key: &str) -> Result<Option<bool>, Error> {
        let Some(text) = self.take(key)? else { return Ok(None) };
        match text.to_lowercase().as_str() {
            "1" | "yes" | "true" | "on" => Ok(Some(true)),
            "0" | "no" | "false" | "off" => Ok(Some(false)),
            _ => Err(self.wrong(key, format!("\"{text}\" is not a boolean"))),
        }
    }

    /// A list, separated by commas or lines. Empty items are left out.
    ///
    /// # Errors
    /// As [`Section::take`].
    pub fn list(&mut self, key: &str) -> Result<Vec<String>, Error> {
        let Some(text) = self.take(key)? else { return Ok(Vec::new()) };
        let items = text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
        Ok(items.map(str::to_owned).collect())
    }

    /// A path, with `~` replaced: see [`expand_home`].
    ///
    /// # Errors
    /// [`Error::Wrong`] for a home that nobody has; as [`Section::take`].
    pub fn file(&mut self, key: &str) -> Result<Option<PathBuf>, Error> {
        let Some(text) = self.take(key)? else { return Ok(None) };
        let path = expand_home(&text).map_err(|error| self.wrong(key, error));
        path.map(Some)
    }

    /// Refuse the section's own keys that nobody took: a misspelt key must not be ignored. Those of
    /// `[DEFAULT]` may be for others.
    ///
    /// # Errors
    /// [`Error::Wrong`] naming the key.
    pub fn end(self) -> Result<(), Error> {
        match self.own.keys().find(|key| !self.taken.contains(*key)) {
            Some(key) => Err(self.wrong(key, "unknown key")),
            None => Ok(()),
        }
    }

    /// Take the keys that a value refers to, directly or through others.
    fn follow(&self, value: &Value, taken: &mut BTreeSet<String>) {
        for piece in self.format.pieces(&value.text) {
            let Ok(Piece::Reference(Reference { section: None, name })) = piece else { continue };
            let name = name.to_lowercase();
            let value = self.raw(&name);
            if taken.insert(name) {
                value.into_iter().for_each(|value| self.follow(value, taken));
            }
        }
    }

    /// A value with its references replaced. The keys that it refers to, directly or through
    /// others, are `taken` by that. `grown` is what that took so far: a few lines that refer to
    /// each other often enough would go on for ever.
    fn resolve(
        &self,
        key: &str,
        value: &Value,
        taken: &mut BTreeSet<String>,
        depth: usize,
        grown: &mut usize,
    ) -> Result<String, Error> {
        if value.is_disputed {
            return Err(self.wrong(key, DISPUTED));
        }
        if depth > MAX_DEPTH {
            return Err(self.wrong(key, "references lead in a circle"));
        }
        let mut out = String::with_capacity(value.text.len());
        for piece in self.format.pieces(&value.text) {
            *grown += 1;
            if let Ok(Piece::Text(text)) = piece {
                *grown += text.len();
            }
            if depth > 1 && *grown > MAX_GROWTH {
                return Err(self.wrong(key, "references make it larger than 1 MB"));
            }
            let Reference { section, name } = match piece.map_err(|what| self.wrong(key, what))? {
                Piece::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Reference(reference) => reference,
            };
            let absent = || self.wrong(key, format!("refers to \"{name}\", which is not set"));
            let lower = name.to_lowercase();
            if let Some(section) = section {
                let other = Self::in_format(self.ini, section, self.format)?;
                let value = other.raw(&lower).ok_or_else(absent)?;
                // What another section refers to are keys of its own.
                out += &other.resolve(&lower, value, &mut BTreeSet::new(), depth + 1, grown)?;
            } else {
                let value = self.raw(&lower).ok_or_else(absent)?;
                taken.insert(lower.clone());
                out += &self.resolve(&lower, value, taken, depth + 1, grown)?;
            }
        }
        Ok(out)
    }
}

const DISPUTED: &str = "a \";\" after a space begins a comment to SkyTools on Python 2, and is part \
                        of the value on Python 3: write the comment on a line of its own, or the \
                        \";\" without a space before it";
