//! The programs of walmgr, which lie beside each other.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};
use crate::log;

/// What everybody calls.
const WALMGR: &str = "walmgr";
/// The small client, which takes the arguments of `walmgr archive-push`.
const PUSH: &str = "walmgr-push";
/// The same as walmgr, with TLS.
const TLS: &str = "walmgr-tls";

/// Path of walmgr, for command lines of others. The program with TLS says the one that it lies
/// beside.
///
/// # Errors
/// [`Error::Local`] when the system does not say where this program is.
pub(crate) fn walmgr() -> Result<PathBuf> {
    let own = own()?;
    let plain = own.with_file_name(WALMGR);
    Ok(if own.ends_with(TLS) && plain.exists() { plain } else { own })
}

/// Path of the program that the server calls to archive: the small client where it is installed,
/// which costs less to start.
///
/// # Errors
/// As [`walmgr`].
pub(crate) fn archiver() -> Result<PathBuf> {
    let walmgr = walmgr()?;
    let push = walmgr.with_file_name(PUSH);
    Ok(if walmgr.ends_with(WALMGR) && push.exists() { push } else { walmgr })
}

/// Become the program with TLS, with the arguments of this one. Where it is not there, and not
/// demanded either, this returns.
///
/// # Errors
/// [`Error::Usage`] when it is demanded and not there, or there and not to be trusted or run.
pub(crate) fn become_tls(demanded: bool) -> Result<()> {
    let own = own()?;
    let path = own.with_file_name(TLS);
    let what =
        |why: &str| Error::Usage(format!("{}, which walmgr needs for TLS: {why}", path.display()));
    if path == own {
        return Err(what("this is walmgr without TLS under its name"));
    }
    let theirs = match path.symlink_metadata() {
        Ok(theirs) => theirs,
        Err(error) if error.kind() == ErrorKind::NotFound && !demanded => {
            log::debug(format_args!("no {}: connections are not encrypted", path.display()));
            return Ok(());
        }
        Err(error) => {
            return Err(what(&format!(
                "{error} (install it beside walmgr, or connect by a socket or with sslmode=disable)"
            )));
        }
    };
    // Also where an upgrade has replaced it meanwhile.
    let ours = std::fs::metadata("/proc/self/exe").map_err(Error::local("look at walmgr"))?;
    check(&ours, &theirs).map_err(what)?;
    Err(what(&Command::new(&path).args(std::env::args_os().skip(1)).exec().to_string()))
}

/// Whoever could write this program could make it do anything; nobody else may make it run theirs.
/// Where a directory is open to all and sticky, as `/tmp` is, others can lay a file beside it.
fn check(ours: &Metadata, theirs: &Metadata) -> std::result::Result<(), &'static str> {
    let same_group = ours.gid() == theirs.gid();
    let excused = ours.mode() & if same_group { 0o022 } else { 0o002 };
    if !theirs.is_file() {
        Err("not a file")
    } else if theirs.uid() != 0 && theirs.uid() != ours.uid() {
        Err("it belongs neither to root nor to the owner of walmgr")
    } else if theirs.mode() & 0o022 & !excused != 0 {
        Err("others may write it, who may not write walmgr")
    } else {
        Ok(())
    }
}

/// Path of this program, or of the one that has replaced it while it runs.
fn own() -> Result<PathBuf> {
    std::env::current_exe().map(replaced).map_err(Error::local("find the walmgr program"))
}

/// The name that a file had which the system says is deleted: it has gone to another.
fn replaced(path: PathBuf) -> PathBuf {
    let name = path.to_str().and_then(|text| text.strip_suffix(" (deleted)"));
    name.filter(|_| !path.exists()).map(PathBuf::from).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::{Metadata, check, replaced};

    #[test]
    fn a_program_that_was_replaced_goes_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        write(path("b (deleted)"), "").unwrap();
        for (said, meant) in
            [("a (deleted)", "a"), ("b (deleted)", "b (deleted)"), ("walmgr", "walmgr")]
        {
            assert_eq!(replaced(path(said)), path(meant));
        }
    }

    #[test]
    fn a_program_that_others_may_write_is_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| -> Metadata {
            let path = directory.path().join(name);
            write(&path, "").unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path.symlink_metadata().unwrap()
        };
        let (ours, shared) = (file("a", 0o755), file("b", 0o775));
        check(&ours, &file("c", 0o755)).unwrap();
        check(&shared, &file("d", 0o775)).unwrap();
        assert!(check(&ours, &shared).unwrap_err().contains("others may write"));
        assert!(check(&shared, &file("e", 0o777)).unwrap_err().contains("others may write"));
        symlink("a", directory.path().join("link")).unwrap();
        let link = directory.path().join("link").symlink_metadata().unwrap();
        assert_eq!(check(&ours, &link), Err("not a file"));
    }
}
