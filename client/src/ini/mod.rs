//! INI files in the dialect of Python's ConfigParser, which SkyTools services use: `[DEFAULT]`,
//! values continued by indentation, `%(name)s` and `%%` (or `${name}`, `${section:name}` and `$$`
//! with `config_format = 2`), whole-line comments with `#` or `;`, `=` or `:`. `%include FILE` is
//! pgqd's.

mod section;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use pgq_connect::has_secret;

pub use section::Section;

/// How deep references may lead to further references, and files include files.
const MAX_DEPTH: u32 = 10;

/// A parsed file.
#[derive(Clone, Debug, Default)]
pub struct Ini {
    path: PathBuf,
    defaults: BTreeMap<String, String>,
    sections: Vec<(String, BTreeMap<String, String>)>,
}

/// Where in the text a parser is.
#[derive(Default)]
struct Place {
    section: Option<String>,
    last_key: Option<String>,
}

impl Ini {
    /// Read and parse a file, and those it includes. A relative `%include` is looked for in the
    /// working directory, as pgqd does.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] with the line's number.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(path, &read_text(path)?)
    }

    /// Parse text; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Config`] with the line's number.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let mut ini = Self { path: path.to_owned(), ..Self::default() };
        ini.add_file(path, text, &mut Place::default(), 0)?;
        Ok(ini)
    }

    fn add_file(
        &mut self,
        path: &Path,
        text: &str,
        place: &mut Place,
        depth: u32,
    ) -> Result<(), Error> {
        for (number, line) in text.lines().enumerate() {
            let bad =
                |what: &str| Error::Config(format!("{}:{}: {what}", path.display(), number + 1));
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            if let Some(file) =
                line.strip_prefix("%include").filter(|file| file.starts_with([' ', '\t']))
            {
                if depth >= MAX_DEPTH {
                    return Err(bad("too many files include each other"));
                }
                let file = expand_home(file.trim());
                place.last_key = None;
                self.add_file(&file, &read_text(&file)?, place, depth + 1)?;
                place.last_key = None;
                continue;
            }
            self.add_line(line, place).map_err(|what| bad(&what))?;
        }
        Ok(())
    }

    fn add_line(&mut self, line: &str, place: &mut Place) -> Result<(), String> {
        let trimmed = line.trim();
        let continues = line.starts_with([' ', '\t']);
        if let (true, Some(key), Some(section)) = (continues, &place.last_key, &place.section) {
            if let Some(value) = self.options_mut(section).get_mut(key) {
                value.push('\n');
                value.push_str(trimmed);
            }
            return Ok(());
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if name != "DEFAULT" && self.sections.iter().any(|(own, _)| own == name) {
                return Err(format!("section [{name}] appears twice"));
            }
            if name != "DEFAULT" {
                self.sections.push((name.to_owned(), BTreeMap::new()));
            }
            *place = Place { section: Some(name.to_owned()), last_key: None };
            return Ok(());
        }
        let Some(section) = &place.section else {
            return Err("a key before any [section]".to_owned());
        };
        let Some((key, value)) = trimmed.split_once(['=', ':']) else {
            return Err("neither [section] nor \"key = value\"".to_owned());
        };
        let key = key.trim().to_lowercase();
        if self.options_mut(section).insert(key.clone(), value.trim().to_owned()).is_some() {
            return Err(format!("key \"{key}\" appears twice in [{section}]"));
        }
        place.last_key = Some(key);
        Ok(())
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

    /// A section. The implicit variables of SkyTools (job_name, service_name, host_name,
    /// config_dir, config_file) are behind its keys.
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
        Ok(Section {
            ini: self,
            path: &self.path,
            name,
            layers: [options, &self.defaults],
            implicit,
        })
    }
}

fn read_text(path: &Path) -> Result<String, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode();
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(io)?;
    for warning in warnings(mode, &text) {
        log::warn!("{}: {warning}", path.display());
    }
    Ok(text)
}

/// What is wrong with the rights of a file with this text. A group may have been made for it;
/// everybody was not.
fn warnings(mode: u32, text: &str) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    if mode & 0o004 != 0 && has_secret(text) {
        warnings.push("it has a password in it, and everybody can read it (chmod o-r)");
    }
    if mode & 0o002 != 0 {
        warnings.push("everybody can write to it, and so decide what runs here (chmod o-w)");
    }
    warnings
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
    fn files_open_to_everybody_are_warned_about() {
        let with = "[s]\ndb = host=a password=secret\n";
        for (mode, text, count) in [
            (0o100_644, with, 1),
            (0o100_640, with, 0),
            (0o100_644, "[s]\ndb = postgres://joe:secret@h/d\n", 1),
            (0o100_644, "[s]\ndb = host=a\n", 0),
            (0o100_666, with, 2),
            (0o100_602, "[s]\n", 1),
        ] {
            assert_eq!(super::warnings(mode, text).len(), count, "{mode:o} {text}");
        }
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
    fn second_format_has_braces() {
        let ini = parse(
            "[DEFAULT]\nconfig_format = 2\nbase = /var\n[s]\nlog = ${base}/${job_name}.log\nq = 5$$ 50% %(x)s\n\
             far = ${Other:path}\na = ${b}\nb = ${a}\nlone = $x\n[Other]\npath = ${base}/o\n",
        );
        let section = ini.section("s").unwrap();
        assert_eq!(section.get("log").unwrap().unwrap(), "/var/job1.log");
        assert_eq!(section.get("q").unwrap().unwrap(), "5$ 50% %(x)s");
        assert_eq!(section.get("far").unwrap().unwrap(), "/var/o");
        assert!(section.get("a").is_err());
        assert!(section.get("lone").is_err());
    }

    #[test]
    fn included_files_take_part_and_errors_name_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        write("b.ini", "x = 1\n# c\n[other]\ny = 2\n");
        write("a.ini", &format!("[s]\n%include {}\nz = 3\n", path("b.ini").display()));
        let ini = Ini::read(&path("a.ini")).unwrap();
        assert_eq!(ini.section("s").unwrap().get("x").unwrap().unwrap(), "1");
        let other = ini.section("other").unwrap();
        assert_eq!(other.get("y").unwrap().unwrap(), "2");
        // The place in the file is where the included file left it.
        assert_eq!(other.get("z").unwrap().unwrap(), "3");
        write("b.ini", "x = 1\nnonsense\n");
        let error = Ini::read(&path("a.ini")).unwrap_err().to_string();
        assert!(error.contains("b.ini:2: "), "{error}");
        write("b.ini", &format!("%include {}\n", path("b.ini").display()));
        let error = Ini::read(&path("a.ini")).unwrap_err().to_string();
        assert!(error.contains("include each other"), "{error}");
        std::fs::remove_file(path("b.ini")).unwrap();
        let error = Ini::read(&path("a.ini")).unwrap_err().to_string();
        assert!(error.contains("b.ini: No such file"), "{error}");
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
