//! The home directory, and `~` at the beginning of a path.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::error::Error;

/// A path with `~` or `~user` at its beginning replaced by that home directory: one's own is
/// `$HOME`, or what the system's user database says where that is unset or empty.
///
/// # Errors
/// [`Error::Wrong`] when there is no such user, or one without a home.
pub fn expand_home(path: &str) -> Result<PathBuf, Error> {
    expand(path, std::env::var_os("HOME"))
}

/// One's own home directory: `$HOME`, or what the system's user database says where that is unset
/// or empty, as libpq and shells have it. None where nobody knows.
pub fn home() -> Option<PathBuf> {
    let home = own_home(std::env::var_os("HOME")).ok().flatten();
    home.filter(|home| !home.as_os_str().is_empty())
}

fn own_home(variable: Option<OsString>) -> nix::Result<Option<PathBuf>> {
    match variable.filter(|home| !home.is_empty()) {
        Some(home) => Ok(Some(PathBuf::from(home))),
        None => Ok(User::from_uid(Uid::current())?.map(|user| user.dir)),
    }
}

fn expand(path: &str, own: Option<OsString>) -> Result<PathBuf, Error> {
    let Some(after) = path.strip_prefix('~') else { return Ok(PathBuf::from(path)) };
    let (name, below) = after.split_once('/').unwrap_or((after, ""));
    let home = match name {
        "" => own_home(own),
        name => User::from_name(name).map(|user| user.map(|user| user.dir)),
    };
    match home {
        Ok(Some(home)) if !home.as_os_str().is_empty() => Ok(join(&home, below)),
        Ok(_) => Err(Error::Wrong(format!(
            "{path}: ~{name} is nobody's home here; write the path in full"
        ))),
        Err(errno) => Err(Error::Wrong(format!("{path}: ~{name}: {}", errno.desc()))),
    }
}

/// `below` is never taken for an absolute path: `~//x` is in the home, too.
fn join(home: &Path, below: &str) -> PathBuf {
    match below.trim_start_matches('/') {
        "" => home.to_owned(),
        below => home.join(below),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::expand;

    #[test]
    fn a_tilde_is_a_home_and_nobody_has_none() {
        let own = || Some("/home/me".into());
        for (path, expected) in [
            ("~/log/x.log", "/home/me/log/x.log"),
            ("~", "/home/me"),
            ("~/", "/home/me"),
            ("~//etc", "/home/me/etc"),
            ("~root/x", "/root/x"),
            ("/a/~/b", "/a/~/b"),
            ("a~", "a~"),
        ] {
            assert_eq!(expand(path, own()).unwrap(), Path::new(expected), "{path}");
        }
        let error = expand("~no_such_user_here/x", own()).unwrap_err().to_string();
        assert!(error.contains("~no_such_user_here is nobody's home"), "{error}");
    }

    #[test]
    fn without_a_home_variable_the_user_database_is_asked() {
        for unset in [None, Some("".into())] {
            let found = expand("~/x", unset).unwrap();
            assert!(found.is_absolute() && found.ends_with("x"), "{found:?}");
        }
    }
}
