//! Names of files with `~`, variables, `*` and `?` in them, as `config_list` has them.

use std::path::{Path, PathBuf};

use pgq_client::{Error, Pattern};
use pgq_ini::expand_home;

/// Files that a pattern names: `~` at the beginning, `$NAME` of the environment, `*` and `?` in the
/// file name. As in a shell these do not stand for a dot at the beginning: such files are an
/// editor's.
pub(super) fn expand(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let pattern = expand_variables(pattern, |name| std::env::var(name).ok());
    let path = expand_home(&pattern)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains(['*', '?']) {
        return Ok(vec![path]);
    }
    let dir = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::Io { path: dir, source }),
    };
    let (wanted, dots) = (Pattern::new(&name), name.starts_with('.'));
    let matches = |name: &str| wanted.matches(name) && name.starts_with('.') == dots;
    let mut found: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| matches(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    Ok(found)
}

/// `$NAME` and `${NAME}` replaced; what is not set stays as it is written.
fn expand_variables(text: &str, value_of: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, next) = braced.unwrap_or_else(|| {
            let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
            after.split_at(after.find(|char| !is_part(char)).unwrap_or(after.len()))
        });
        match value_of(name) {
            Some(value) => {
                out.push_str(&value);
                rest = next;
            }
            None => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::expand_variables;

    #[test]
    fn variables_are_replaced_where_they_are_set() {
        let value_of = |name: &str| (name == "ETC").then(|| "/etc".to_owned());
        for (text, expected) in [
            ("$ETC/a", "/etc/a"),
            ("x${ETC}y/$ETC", "x/etcy//etc"),
            ("$NONE/${NONE}/$", "$NONE/${NONE}/$"),
        ] {
            assert_eq!(expand_variables(text, value_of), expected);
        }
    }
}
