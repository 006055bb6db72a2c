//! A section of an INI file: values, typed and with references resolved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Ini, MAX_DEPTH, expand_home};
use crate::error::Error;

/// A section, with `[DEFAULT]` and the implicit variables behind it.
#[derive(Clone, Debug)]
pub struct Section<'i> {
    pub(super) ini: &'i Ini,
    pub(super) path: &'i Path,
    pub(super) name: &'i str,
    pub(super) layers: [&'i BTreeMap<String, String>; 2],
    pub(super) implicit: BTreeMap<String, String>,
}

impl Section<'_> {
    /// The section's name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Names of the keys that the file sets, `[DEFAULT]` included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().flat_map(|layer| layer.keys()).map(String::as_str)
    }

    fn raw(&self, key: &str) -> Option<&str> {
        let layers = self.layers.iter().copied().chain([&self.implicit]);
        layers.into_iter().find_map(|layer| layer.get(key)).map(String::as_str)
    }

    fn bad(&self, key: &str, what: &str) -> Error {
        Error::Config(format!("{}: [{}] {key}: {what}", self.path.display(), self.name))
    }

    /// A value, with `%(name)s` replaced; with `config_format = 2`, `${name}` and
    /// `${section:name}`.
    ///
    /// # Errors
    /// [`Error::Config`] for a reference to nothing, one that never ends, or a lone `%` (`$`).
    pub fn get(&self, key: &str) -> Result<Option<String>, Error> {
        let interpolate = match self.raw("config_format").map(str::trim) {
            Some("2") => Self::interpolate_braces,
            _ => Self::interpolate,
        };
        self.raw(key).map(|raw| interpolate(self, key, raw, 0)).transpose()
    }

    /// A value as it is written, `%` and all.
    pub fn literal(&self, key: &str) -> Option<&str> {
        self.raw(key)
    }

    /// A value that must be there.
    ///
    /// # Errors
    /// [`Error::Config`] when it is not.
    pub fn require(&self, key: &str) -> Result<String, Error> {
        match self.get(key)? {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(self.bad(key, "required, but not set")),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// [`Error::Config`] when it is none.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Error> {
        match self.get(key)?.filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => match value.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(self.bad(key, &format!("\"{value}\" is not a number"))),
            },
        }
    }

    /// Seconds, with fractions.
    ///
    /// # Errors
    /// [`Error::Config`] when it is no number, or a negative one.
    pub fn seconds(&self, key: &str) -> Result<Option<std::time::Duration>, Error> {
        let Some(seconds) = self.number::<f64>(key)? else { return Ok(None) };
        std::time::Duration::try_from_secs_f64(seconds)
            .map(Some)
            .map_err(|_| self.bad(key, "must be a number of seconds, not negative"))
    }

    /// A boolean as Python takes it: 1/0, yes/no, true/false, on/off.
    ///
    /// # Errors
    /// [`Error::Config`] when it is none.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.get(key)?.filter(|value| !value.is_empty()) else { return Ok(None) };
        match value.to_lowercase().as_str() {
            "1" | "yes" | "true" | "on" => Ok(Some(true)),
            "0" | "no" | "false" | "off" => Ok(Some(false)),
            _ => Err(self.bad(key, &format!("\"{value}\" is not a boolean"))),
        }
    }

    /// A comma-separated list.
    ///
    /// # Errors
    /// As [`Section::get`].
    pub fn list(&self, key: &str) -> Result<Vec<String>, Error> {
        let value = self.get(key)?.unwrap_or_default();
        let items = value.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
        Ok(items.map(str::to_owned).collect())
    }

    /// A path, with `~` replaced.
    ///
    /// # Errors
    /// As [`Section::get`].
    pub fn file(&self, key: &str) -> Result<Option<PathBuf>, Error> {
        Ok(self.get(key)?.filter(|value| !value.is_empty()).map(|value| expand_home(&value)))
    }

    /// Refuse keys outside these names; a misspelt key must not be ignored.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn only(&self, known: &[&str]) -> Result<(), Error> {
        match self.layers[0].keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.bad(key, "unknown key")),
            None => Ok(()),
        }
    }

    fn interpolate(&self, key: &str, raw: &str, depth: u32) -> Result<String, Error> {
        if depth > MAX_DEPTH {
            return Err(self.bad(key, "references lead in a circle"));
        }
        let mut out = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                out.push('%');
                rest = after;
                continue;
            }
            let reference = after.strip_prefix('(').and_then(|inner| inner.split_once(")s"));
            let Some((name, after)) = reference else {
                return Err(self.bad(key, "\"%\" must be followed by \"%\" or \"(name)s\""));
            };
            let name = name.to_lowercase();
            let Some(value) = self.raw(&name) else {
                return Err(self.bad(key, &format!("refers to \"{name}\", which is not set")));
            };
            out.push_str(&self.interpolate(key, value, depth + 1)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn interpolate_braces(&self, key: &str, raw: &str, depth: u32) -> Result<String, Error> {
        if depth > MAX_DEPTH {
            return Err(self.bad(key, "references lead in a circle"));
        }
        let mut out = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
                continue;
            }
            let reference = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = reference else {
                return Err(self.bad(key, "\"$\" must be followed by \"$\" or \"{name}\""));
            };
            let (section, name) = match name.split_once(':') {
                Some((section, name)) => (self.ini.section(section)?, name.to_lowercase()),
                None => (self.clone(), name.to_lowercase()),
            };
            let Some(value) = section.raw(&name) else {
                return Err(self.bad(key, &format!("refers to \"{name}\", which is not set")));
            };
            out.push_str(&section.interpolate_braces(key, value, depth + 1)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}
