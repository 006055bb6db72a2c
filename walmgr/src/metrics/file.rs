//! A textfile for Prometheus' node exporter.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// Put a text where the exporter reads it, whole or not at all. Anybody may read the file: the
/// exporter runs as another user.
///
/// # Errors
/// [`Error::Local`]; then what was there before is still there.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let what = || Error::local(format!("write {}", path.display()));
    // The exporter reads only what ends in .prom.
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = Path::new(&name);
    let written = File::create(temporary).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        fs::rename(temporary, path)
    });
    if written.is_err() {
        // Best effort: the failure itself is reported.
        let _ = fs::remove_file(temporary);
    }
    written.map_err(what())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::write;

    #[test]
    fn a_textfile_is_replaced_whole_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("walmgr.prom");
        for text in ["a 1\n", "a 2\n"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        // A directory stands in its place.
        let taken = directory.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert_eq!(write(&taken, "x").unwrap_err().exit_code(), 8);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
