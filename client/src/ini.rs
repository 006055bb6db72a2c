//! INI files that may have passwords in them, and say what runs.

use std::path::Path;

use pgq_connect::has_secret;
use pgq_ini::{Ini, Opened};

use crate::error::Error;

impl From<pgq_ini::Error> for Error {
    fn from(error: pgq_ini::Error) -> Self {
        match error {
            pgq_ini::Error::Io { path, source } => Self::Io { path, source },
            pgq_ini::Error::Wrong(what) => Self::Config(what),
        }
    }
}

/// Read and parse a file, and those it includes: see [`pgq_ini`]. What everybody may read or write
/// but should not is warned about.
///
/// # Errors
/// [`Error::Io`]; [`Error::Config`] with the line's number.
pub fn read_ini(path: &Path) -> Result<Ini, Error> {
    Ok(Ini::read(path, |opened| {
        for warning in warnings(opened) {
            log::warn!("{}: {warning}", opened.path.display());
        }
    })?)
}

/// What is wrong with the rights of a file. A group may have been made for it; everybody was not.
fn warnings(opened: &Opened<'_>) -> Vec<&'static str> {
    let Opened { mode, text, .. } = opened;
    let mut warnings = Vec::new();
    if mode & 0o004 != 0 && has_secret(text) {
        warnings.push("it has a password in it, and everybody can read it (chmod o-r)");
    }
    if mode & 0o002 != 0 {
        warnings.push("everybody can write to it, and so decide what runs here (chmod o-w)");
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Opened, warnings};

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
            let opened = Opened { path: Path::new("f"), mode, text };
            assert_eq!(warnings(&opened).len(), count, "{mode:o} {text}");
        }
    }
}
