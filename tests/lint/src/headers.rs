//! Entries of a contract block begin a line each.
//!
//! `name  what it is`: two spaces or more set a name apart. Before such a gap stands nothing but
//! the name, or a few with commas between; else the entry was drawn into the one before it, as it
//! is when lists are wrapped like prose.

use crate::Finding;
use crate::source::Source;

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if !source.path.ends_with(".sql") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut is_inside = false;
    for (index, line) in source.text.lines().enumerate() {
        match line.strip_prefix("-- ") {
            Some(rule) if rule.starts_with("-----") => is_inside = !is_inside,
            Some(text) if is_inside && (has_inner_entry(text) || has_dash(text)) => {
                let what = "an entry of the contract block begins in the middle of a line";
                findings.push(Finding::new(&source.path, index + 1, "header", what));
            }
            Some(_) => {}
            None => is_inside = false,
        }
    }
    findings
}

/// True when more than names stands before a gap.
fn has_inner_entry(text: &str) -> bool {
    let text = text.trim_start();
    let mut pieces = text.split("  ").filter(|piece| !piece.is_empty());
    let before = match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(before), Some(_), None) => before.trim_end(),
        (_, _, Some(_)) => return true,
        _ => return false,
    };
    before.split(", ").any(|name| name.contains(' '))
}

/// True for `name - what it is`, an older form of entry.
fn has_dash(text: &str) -> bool {
    let Some((before, _)) = text.split_once(" - ") else { return false };
    let name = before.trim_end().rsplit([' ', ',', ';']).next().unwrap_or(before);
    !name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &str) -> usize {
        let rule = "-".repeat(70);
        let text = format!("as $$\n-- {rule}\n-- Parameters:\n{lines}\n-- {rule}\n$$;\n");
        check(&Source::new("a.sql", &text)).len()
    }

    #[test]
    fn an_entry_that_was_wrapped_into_another_is_found() {
        for line in [
            "--      one a_event_id      event",
            "--      be run again) 401     Cannot subscribe 404     Unknown queue",
            "--                  info code       - what it is",
            "--      restarts, errors - how often that happened",
        ] {
            assert_eq!(found(line), 1, "{line}");
        }
    }

    #[test]
    fn entries_and_prose_are_none() {
        for line in [
            "--      a_event_id      event, and what follows",
            "--      i_min_lag, i_min_count, i_min_interval  as in pgq.next_batch_custom",
            "--      23502, 23503  step 3 with a new provider",
            "--      - else they go to the retry queue",
            "--      see get u(k - 1). Those that no tick sees get u(n)",
        ] {
            assert_eq!(found(line), 0, "{line}");
        }
        assert_eq!(check(&Source::new("a.sql", "-- not in a block  at all\n")), []);
    }
}
