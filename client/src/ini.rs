//! INI files in the dialect of Python's ConfigParser, which SkyTools services use: `[DEFAULT]`, values continued by indentation,
//! `%(name)s` and `%%`, whole-line comments with `#` or `;`, `=` or `:`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// How deep `%(name)s` may lead to further `%(name)s`.
const MAX_DEPTH: u32 = 10;

/// A parsed file.
#[derive(Clone, Debug, Default)]
pub struct Ini {
    path: PathBuf,
    defaults: BTreeMap<String, String>,
    sections: Vec<(String, BTreeMap<String, String>)>,
}

/// A section, with `[DEFAULT]` and the implicit variables behind it.
#[derive(Clone, Debug)]
pub struct Section<'i> {
    path: &'i Path,
    name: &'i str,
    layers: [&'i BTreeMap<String, String>; 2],
    implicit: BTreeMap<String, String>,
}

impl Ini {
    /// Read and parse a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] with the line's number.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Parse text; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Config`] with the line's number.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let mut ini = Self { path: path.to_owned(), ..Self::default() };
        let mut open: Option<String> = None;
        let mut last_key: Option<String> = None;
        for (number, line) in text.lines().enumerate() {
            let bad =
                |what: &str| Error::Config(format!("{}:{}: {what}", path.display(), number + 1));
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            let continues = line.starts_with([' ', '\t']);
            if let (true, Some(key), Some(section)) = (continues, &last_key, &open) {
                if let Some(value) = ini.options_mut(section).get_mut(key) {
                    value.push('\n');
                    value.push_str(trimmed);
                }
                continue;
            }
            if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                if name != "DEFAULT" && ini.sections.iter().any(|(own, _)| own == name) {
                    return Err(bad(&format!("section [{name}] appears twice")));
                }
                if name != "DEFAULT" {
                    ini.sections.push((name.to_owned(), BTreeMap::new()));
                }
                open = Some(name.to_owned());
                last_key = None;
                continue;
            }
            let Some(section) = &open else { return Err(bad("a key before any [section]")) };
            let Some((key, value)) = trimmed.split_once(['=', ':']) else {
                return Err(bad("neither [section] nor \"key = value\""));
            };
            let key = key.trim().to_lowercase();
            if ini.options_mut(section).insert(key.clone(), value.trim().to_owned()).is_some() {
                return Err(bad(&format!("key \"{key}\" appears twice in [{section}]")));
            }
            last_key = Some(key);
        }
        Ok(ini)
    }

    fn options_mut(&mut self, section: &str) -> &mut BTreeMap<String, String> {
        match self.sections.iter_mut().find(|(name, _)| name == section) {
            Some((_, options)) => options,
            None => &mut self.defaults,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the sections, in the file's order, without `[DEFAULT]`.
    pub fn section_names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|(name, _)| name.as_str())
    }

    /// A section. The implicit variables of SkyTools (job_name, service_name, host_name, config_dir, config_file) are behind its keys.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no such section.
    pub fn section(&self, name: &str) -> Result<Section<'_>, Error> {
        let found = self.sections.iter().find(|(own, _)| own == name);
        let Some((name, options)) = found else {
            return Err(Error::Config(format!("{}: no section [{name}]", self.path.display())));
        };
        let stem = self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let dir = self.path.parent().map(|dir| dir.display().to_string());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let implicit = BTreeMap::from([
            ("job_name".to_owned(), stem.unwrap_or_default()),
            ("service_name".to_owned(), name.clone()),
            ("host_name".to_owned(), host),
            ("config_dir".to_owned(), dir.unwrap_or_default()),
            ("config_file".to_owned(), self.path.display().to_string()),
        ]);
        Ok(Section { path: &self.path, name, layers: [options, &self.defaults], implicit })
    }
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

    /// A value, with `%(name)s` replaced.
    ///
    /// # Errors
    /// [`Error::Config`] for a reference to nothing, one that never ends, or a lone `%`.
    pub fn get(&self, key: &str) -> Result<Option<String>, Error> {
        self.raw(key).map(|raw| self.interpolate(key, raw, 0)).transpose()
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
}

/// `~/x` under `$HOME`.
pub(crate) fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Ini;

    fn parse(text: &str) -> Ini {
        Ini::parse(Path::new("/etc/x/job1.ini"), text).unwrap()
    }

    #[test]
    fn values_are_found_in_all_layers() {
        let ini = parse(
            "# c\n[DEFAULT]\nbase = /var\n[svc]\nLogfile = %(base)s/%(job_name)s.log\nq: a%%b\n\
             multi = one,\n   two\n\tthree\nempty =\n[other]\n",
        );
        let section = ini.section("svc").unwrap();
        assert_eq!(section.get("logfile").unwrap().unwrap(), "/var/job1.log");
        assert_eq!(section.get("q").unwrap().unwrap(), "a%b");
        assert_eq!(section.list("multi").unwrap(), ["one", "two", "three"]);
        assert_eq!(section.get("config_dir").unwrap().unwrap(), "/etc/x");
        assert_eq!(section.get("empty").unwrap().unwrap(), "");
        assert!(section.require("empty").is_err());
        assert_eq!(section.get("nothing").unwrap(), None);
        assert_eq!(ini.section_names().collect::<Vec<_>>(), ["svc", "other"]);
    }

    #[test]
    fn typed_values_are_checked() {
        let ini = parse("[s]\nn = 2.5\nb = Yes\nx = twelve\nneg = -1\n");
        let section = ini.section("s").unwrap();
        assert_eq!(section.seconds("n").unwrap().unwrap().as_millis(), 2500);
        assert_eq!(section.boolean("b").unwrap(), Some(true));
        assert_eq!(
            section.number::<i32>("x").unwrap_err().to_string(),
            "/etc/x/job1.ini: [s] x: \"twelve\" is not a number"
        );
        assert!(section.seconds("neg").is_err());
        assert!(section.boolean("n").is_err());
        assert!(section.only(&["n", "b", "x"]).unwrap_err().to_string().contains("neg: unknown"));
    }

    #[test]
    fn broken_files_name_the_line() {
        for (text, line) in
            [("a = 1\n", 1), ("[s]\nnonsense\n", 2), ("[s]\na=1\na=2\n", 3), ("[s]\n[s]\n", 2)]
        {
            let error = Ini::parse(Path::new("f"), text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("f:{line}: ")), "{error}");
        }
    }

    #[test]
    fn references_that_lead_nowhere_are_errors() {
        let ini = parse("[s]\na = %(b)s\nb = %(a)s\nc = %(none)s\nd = 50%\n");
        let section = ini.section("s").unwrap();
        for key in ["a", "c", "d"] {
            assert!(section.get(key).is_err(), "{key}");
        }
    }
}
