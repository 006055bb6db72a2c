//! Lines of at most 100 columns, comments and SQL too.
//!
//! Free is what cannot be wrapped, or not without harm: a line with a URL, and in Rust a string
//! literal on a line of its own or behind its macro, so that a message is found by grep. A literal
//! that goes on from the line before was wrapped already, and is held to the rule.

use crate::Finding;
use crate::source::Source;

const MOST: usize = 100;

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if source.file_name() == "Cargo.toml" {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let width = line.chars().count();
        if width > MOST && !line.contains("://") && !is_literal(source, index) {
            let what = format!("{width} columns, {MOST} are allowed");
            findings.push(Finding::new(&source.path, index + 1, "width", what));
        }
    }
    findings
}

fn is_literal(source: &Source, line: usize) -> bool {
    let Some(rust) = &source.rust else { return false };
    let at = |lines: &[bool]| lines.get(line) == Some(&true);
    at(&rust.begins) && !at(&rust.continues)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_sql_and_wrapped_literals_are_held_to_the_width() {
        let long = "x".repeat(101);
        for (path, text) in [
            ("a.rs", format!("// {long}\n")),
            ("a.rs", format!("let a = \"begin\n{long}\";\n")),
            ("a.sql", format!("select '{long}';\n")),
            ("a.sh", format!("echo \"{long}\"\n")),
        ] {
            assert_eq!(check(&Source::new(path, &text)).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn an_address_and_a_message_in_one_piece_may_be_longer() {
        let long = "x".repeat(101);
        for text in [format!("// https://{long}\n"), format!("raise(\"{long}\");\n")] {
            assert_eq!(check(&Source::new("a.rs", &text)), []);
        }
        assert_eq!(check(&Source::new("a.sql", &format!("-- {}\n", "ü".repeat(97)))), []);
    }
}
