//! A file, and those it includes.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::Error;
use crate::home::expand_home;
use crate::parse::{BOM, DEFAULT, Options, Parser};

/// How deep files include files.
const MAX_DEPTH: usize = 10;

/// Longest text of a file and all that it includes, in bytes. systemd reads every job at boot, and
/// must neither run out of memory nor wait.
const MAX_SIZE: usize = 1 << 20;

/// A parsed file.
#[derive(Clone, Debug)]
pub struct Ini {
    path: PathBuf,
    parsed: Parser,
}

/// A file that has just been read: for who judges whether it may be believed.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'o> {
    /// The file.
    pub path: &'o Path,
    /// Its type and rights, as of `stat`.
    pub mode: u32,
    /// What is in it.
    pub text: &'o str,
}

type Look<'l> = &'l mut dyn FnMut(&Opened<'_>);

impl Ini {
    /// Read and parse a file, and those it includes; `look` is shown each of them. A relative
    /// `%include` is looked for in the working directory.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Wrong`] with the line's number, for what is no plain file, and for
    /// more than 1 MB in all.
    pub fn read(path: &Path, mut look: impl FnMut(&Opened<'_>)) -> Result<Self, Error> {
        let mut parser = Parser::default();
        read_into(&mut parser, path, &mut look, 0)?;
        Ok(Self { path: path.to_owned(), parsed: parser })
    }

    /// Parse a text that was read already; `path` is its name in messages.
    ///
    /// # Errors
    /// [`Error::Wrong`] with the line's number; [`Error::Io`] of a file that it includes.
    pub fn parse(path: &Path, text: impl AsRef<[u8]>) -> Result<Self, Error> {
        let mut parser = Parser::default();
        let text = decode(path, text.as_ref())?;
        parse_into(&mut parser, path, text, &mut |_| (), 0)?;
        Ok(Self { path: path.to_owned(), parsed: parser })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the sections, in the file's order, without `[DEFAULT]`.
    pub fn section_names(&self) -> impl Iterator<Item = &str> {
        self.parsed.sections.iter().map(|(name, _)| name.as_str())
    }

    /// The keys of a section under its own name.
    pub(crate) fn options(&self, name: &str) -> Option<(&str, &Options)> {
        if name == DEFAULT {
            return Some((DEFAULT, &self.parsed.defaults));
        }
        let found = self.parsed.sections.iter().find(|(own, _)| own == name);
        found.map(|(name, options)| (name.as_str(), options))
    }

    pub(crate) fn defaults(&self) -> &Options {
        &self.parsed.defaults
    }
}

fn read_into(parser: &mut Parser, path: &Path, look: Look<'_>, depth: usize) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let wrong = |what: &str| Err(Error::Wrong(format!("{}: {what}", path.display())));
    // A pipe must not be waited for.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return wrong("is no plain file");
    }
    let mode = metadata.permissions().mode();
    let left = MAX_SIZE.saturating_sub(parser.size);
    let (mut bytes, limit) = (Vec::new(), u64::try_from(left + 1).expect("left is at most 1 MB"));
    file.take(limit).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > left {
        return wrong("the file and what includes it, and is included, are larger than 1 MB");
    }
    parser.size += bytes.len();
    let text = decode(path, &bytes)?;
    look(&Opened { path, mode, text });
    parse_into(parser, path, text, look, depth)
}

fn parse_into(
    parser: &mut Parser,
    path: &Path,
    text: &str,
    look: Look<'_>,
    depth: usize,
) -> Result<(), Error> {
    for (index, line) in text.lines().enumerate() {
        let wrong = |what: &str| at_line(path, index + 1, what);
        let Some(file) = parser.take(line).map_err(|what| wrong(&what))? else { continue };
        if depth >= MAX_DEPTH {
            return Err(wrong("too many files include each other"));
        }
        read_into(parser, &expand_home(file)?, look, depth + 1)?;
        parser.end_include();
    }
    Ok(())
}

fn decode<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str, Error> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        at_line(path, line, "the text is not UTF-8")
    })?;
    Ok(text.strip_prefix(BOM).unwrap_or(text))
}

fn at_line(path: &Path, line: usize, what: &str) -> Error {
    Error::Wrong(format!("{}:{line}: {what}", path.display()))
}
