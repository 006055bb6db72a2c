//! The page of the configuration file, `walmgr.toml.5`, made of the table in `docs/walmgr.md`, so
//! that there is one list of settings.

use std::fmt::Write;

/// The manual.
const MANUAL: &str = include_str!("../../docs/walmgr.md");

/// A setting, or some that are explained together.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Full names.
    keys: Vec<String>,
    /// What they are without being set.
    default: String,
    /// What they do.
    text: String,
}

/// The section on configuration: what it says before its table, and the table.
fn section() -> (String, Vec<Entry>) {
    let begin = MANUAL.split_once("\n## Configuration\n").map_or("", |(_, rest)| rest);
    let section = begin.split("\n#").next().unwrap_or(begin);
    let is_row = |line: &&str| line.starts_with('|');
    let prose: Vec<&str> = section.lines().take_while(|line| !is_row(line)).collect();
    // Its head and the line below have no keys.
    let rows = section.lines().filter(is_row).filter(|line| line.starts_with("| `"));
    (prose.join(" ").trim().to_owned(), rows.filter_map(entry).collect())
}

fn entry(row: &str) -> Option<Entry> {
    let mut cells = row.trim_matches('|').splitn(3, '|').map(str::trim);
    let (names, default, text) = (cells.next()?, cells.next()?, cells.next()?);
    let mut keys: Vec<String> = Vec::new();
    for name in names.split(", ") {
        let name = name.trim_matches('`');
        // `.path` after `repository.ssh.host` is `repository.ssh.path`.
        let full = match (name.strip_prefix('.'), keys.last().and_then(|key| key.rsplit_once('.')))
        {
            (Some(leaf), Some((table, _))) => format!("{table}.{leaf}"),
            _ => name.to_owned(),
        };
        keys.push(full);
    }
    Some(Entry { keys, default: plain(default), text: plain(text) })
}

/// Text without Markdown: of a link, its words.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let link = after.split_once("](").and_then(|(words, target)| {
            target.split_once(')').map(|(_, end)| (words, end)).filter(|_| !words.contains(']'))
        });
        out.push_str(before);
        match link {
            Some((words, end)) => {
                out.push_str(words);
                rest = end;
            }
            None => {
                out.push('[');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out.replace('`', "")
}

/// Text as roff takes it.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...");
    // A line that begins so would be a request.
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

/// The page.
pub(crate) fn page() -> String {
    let (prose, entries) = section();
    let mut out = format!(
        ".TH WALMGR.TOML 5 \"\" \"walmgr {}\"\n.SH NAME\nwalmgr.toml \\- configuration of walmgr\n\
         .SH DESCRIPTION\n\
         The file /etc/walmgr.toml, or what \\-\\-config or WALMGR_CONFIG names, is TOML. \
         A key a.b.c is key c in the table [a.b].\n.PP\n",
        env!("CARGO_PKG_VERSION")
    );
    // Writing to a string does not fail.
    let _ = writeln!(out, "{}", roff(&plain(&prose)));
    out.push_str(".SH KEYS\n");
    for Entry { keys, default, text } in entries {
        let keys: Vec<String> = keys.iter().map(|key| roff(key)).collect();
        let _ = writeln!(out, ".TP\n.B {}", keys.join(", "));
        let default = if default.is_empty() { default } else { format!("Default: {default}.") };
        let lines = [text, default];
        let mut lines = lines.iter().filter(|line| !line.is_empty()).peekable();
        if lines.peek().is_none() {
            out.push_str("See the manual.\n");
        }
        lines.for_each(|line| {
            let _ = writeln!(out, "{}", roff(line));
        });
    }
    out.push_str(".SH SEE ALSO\n.BR walmgr (1)\n");
    out
}

#[cfg(test)]
mod tests {
    use super::{entry, page, plain, roff, section};
    use crate::config::Config;
    use crate::manual::keys::keys;
    use crate::repo::settings::Repository;

    #[test]
    fn rows_of_the_table_are_read() {
        let row = "| `a.b`, `.c`, `d.e` | 1, [two](#x) | what `a` [does](y) [2] |";
        let entry = entry(row).unwrap();
        assert_eq!(entry.keys, ["a.b", "a.c", "d.e"]);
        assert_eq!((entry.default.as_str(), entry.text.as_str()), ("1, two", "what a does [2]"));
        assert_eq!(plain("[x"), "[x");
        assert_eq!(roff(".path -a \\"), "\\&.path \\-a \\e");
    }

    #[test]
    fn every_key_of_the_configuration_is_explained_and_no_other() {
        let (_, entries) = section();
        let explained: Vec<String> = entries.into_iter().flat_map(|entry| entry.keys).collect();
        let mut known = keys::<Config>();
        // One table, or several: its deserialiser does not say.
        known.retain(|key| key != "repository");
        known.extend(keys::<Repository>().iter().map(|key| format!("repository.{key}")));
        assert!(known.contains(&"repository.ssh.timeout".to_owned()), "{known:?}");
        // `repository.gcs.…`: a page of its own has them.
        let elsewhere = |key: &str| {
            let tables = explained.iter().filter_map(|name| name.strip_suffix('…'));
            tables.into_iter().any(|table| key.starts_with(table))
        };
        let missing: Vec<_> =
            known.iter().filter(|key| !explained.contains(key) && !elsewhere(key)).collect();
        assert!(missing.is_empty(), "docs/walmgr.md does not explain {missing:?}");
        let is_known = |name: &String| match name.strip_suffix('…') {
            Some(table) => known.iter().any(|key| key.starts_with(table)),
            None => known.contains(name),
        };
        let unknown: Vec<_> = explained.iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "docs/walmgr.md explains {unknown:?}, which do not exist");
        for (at, name) in explained.iter().enumerate() {
            assert!(!explained[..at].contains(name), "{name} is explained twice");
        }
    }

    #[test]
    fn the_page_has_every_key() {
        let page = page();
        for key in section().1.iter().flat_map(|entry| &entry.keys) {
            assert!(page.contains(&roff(key)), "{key}");
        }
        assert!(page.lines().all(|line| !line.contains('`') && !line.contains("](")), "{page}");
    }
}

#[cfg(test)]
mod keys;
