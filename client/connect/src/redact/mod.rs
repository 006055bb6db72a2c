//! Take secrets out of text before anybody sees it.
//!
//! Text is whatever a message holds: a connection string in either form, whole or cut off, quoted
//! for a shell, JSON, TOML or `postgresql.conf`, in the midst of prose. Where it is not certain
//! where a secret ends, more is hidden rather than less.

mod named;
#[cfg(test)]
mod tests;
mod uri;

use std::ops::Range;

/// What stands where a secret was.
const MASK: &str = "***";

/// The text with `***` instead of every secret: values of `password` and of libpq's other secret
/// options, whether key/value or parameters of a URI, and the password between `user:` and `@`.
/// Text without secrets comes back as it is, except that after `postgres://HOST:` all is hidden up
/// to an at sign of the same line, or its end without one: it may be `postgres://USER:`.
pub fn redact(text: &str) -> String {
    let mut secrets: Vec<_> = named::secrets(text).chain(uri::secrets(text)).collect();
    secrets.sort_by_key(|secret| secret.start);
    let mut out = String::with_capacity(text.len());
    let mut shown = 0;
    for Range { start, end } in secrets {
        if start >= shown {
            out.push_str(&text[shown..start]);
            out.push_str(MASK);
        }
        shown = shown.max(end);
    }
    out.push_str(&text[shown..]);
    out
}

/// True for a text that [`redact()`] hides something of.
pub fn has_secret(text: &str) -> bool {
    named::secrets(text).chain(uri::secrets(text)).next().is_some()
}

/// True for the name of an option whose value is a secret.
pub(crate) fn is_secret(option: &str) -> bool {
    named::is_secret(option.as_bytes())
}

/// The end of the line that this position is in.
fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |length| at + length)
}

/// Where the next URI begins, or else the line ends. What looks like a scheme in the midst of a
/// word is none: it may be part of a password.
fn next_uri(text: &str, at: usize) -> usize {
    let end = line_end(text, at);
    let mut from = at;
    while let Some(found) = text[from..end].find("://") {
        let mark = from + found;
        let start = uri::scheme_start(text, mark);
        let before = text[at..start.max(at)].chars().next_back();
        let stands_alone = |ch: char| ch.is_whitespace() || "\"'`=,(<[".contains(ch);
        if start > at && start < mark && before.is_some_and(stands_alone) {
            return start;
        }
        from = mark + 3;
    }
    end
}
