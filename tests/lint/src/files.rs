//! Names and sizes of files.

use crate::Finding;
use crate::source::Source;

/// Where a file is split.
const MOST_LINES: usize = 600;
/// What an index may hold beside its list: the type that the folder is named for.
const MOST_LINES_OF_INDEX: usize = 300;
/// Names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["functions", "utils", "util", "helpers", "common", "misc"];

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |rule, what| findings.push(Finding::new(&source.path, 1, rule, what));
    let lines = source.text.lines().count();
    if lines > MOST_LINES {
        find("size", format!("{lines} lines: split it at {MOST_LINES}"));
    }
    if source.rust.is_some() {
        let stem = source.file_name().trim_end_matches(".rs");
        if EMPTY_NAMES.contains(&stem) {
            find("name", format!("{stem} says nothing: name the thing"));
        }
        if stem == "mod" && lines > MOST_LINES_OF_INDEX {
            find("index", format!("{lines} lines, an index has {MOST_LINES_OF_INDEX}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_long_indexes_and_empty_names_are_found() {
        for (path, lines, rules) in [
            ("a/thing.rs", 600, [].as_slice()),
            ("a/thing.sql", 601, &["size"]),
            ("a/mod.rs", 300, &[]),
            ("a/mod.rs", 301, &["index"]),
            ("a/functions.rs", 1, &["name"]),
        ] {
            let found = check(&Source::new(path, &"\n".repeat(lines)));
            let found: Vec<&str> = found.into_iter().map(|finding| finding.rule).collect();
            assert_eq!(found, rules, "{path} of {lines} lines");
        }
    }
}
