//! No silent fallback for what cannot happen.
//!
//! A conversion that cannot fail, or a range that is there, says so and stops the program if it is
//! wrong; zero or nothing would go on with wrong data.

use crate::Finding;
use crate::source::Source;

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let Some(rust) = &source.rust else { return Vec::new() };
    let mut findings = Vec::new();
    for (place, _) in rust.code.match_indices(".unwrap_or") {
        let Some((before, after)) = rust.code.split_at_checked(place) else { continue };
        let zero = after.starts_with(".unwrap_or(0)") || after.starts_with(".unwrap_or_default()");
        if zero && is_infallible(before.trim_end()) {
            let line = before.matches('\n').count() + 1;
            let what = "say why it cannot fail (expect), or return the error";
            findings.push(Finding::new(&source.path, line, "fallback", what));
        }
    }
    findings
}

/// The expression ends in a conversion of integers, or takes a range.
fn is_infallible(before: &str) -> bool {
    let Some((open, arguments)) = last_call(before) else { return false };
    let Some(name) = before.get(..open) else { return false };
    name.ends_with("try_into")
        || name.ends_with("::try_from")
        || (name.ends_with(".get") && arguments.contains(".."))
}

/// Where the parenthesis opens that the text ends in, and what is in it.
fn last_call(text: &str) -> Option<(usize, &str)> {
    let inner = text.strip_suffix(')')?;
    let mut depth = 1;
    for (place, character) in inner.char_indices().rev() {
        match character {
            ')' => depth += 1,
            '(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((place, inner.get(place + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversion_or_a_range_that_falls_back_to_nothing_is_found() {
        for (line, found) in [
            ("u32::try_from(bytes.len()).unwrap_or(0)", 1),
            ("count.try_into()\n    .unwrap_or_default()", 1),
            ("buffer.get(..length).unwrap_or_default()", 1),
            ("u32::try_from(length).unwrap_or(u32::MAX)", 0),
            ("row.get(1).unwrap_or_default()", 0),
            ("text.parse().unwrap_or(0)", 0),
            ("// u32::try_from(1).unwrap_or(0)", 0),
        ] {
            assert_eq!(check(&Source::new("a.rs", line)).len(), found, "{line}");
        }
    }
}
