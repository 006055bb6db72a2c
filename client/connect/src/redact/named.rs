//! Secrets that stand behind their name.

use std::ops::Range;

use super::{line_end, next_uri, uri};

/// How names of secrets end: `sslpassword` and `PGPASSWORD` are some, too.
const ENDINGS: [&str; 4] = ["password", "scram_client_key", "scram_server_key", "client_secret"];

/// Where the values of secrets are, with their quotes.
pub(super) fn secrets(text: &str) -> impl Iterator<Item = Range<usize>> {
    names(text).filter_map(|name| value(text, name)).filter(|value| !value.is_empty())
}

/// Where names of secrets stand. In a URI they may be percent-encoded.
fn names(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'%');
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes.get(at..)?.iter().position(|byte| is_part(*byte))?;
        let rest = bytes[start..].iter();
        at = start + rest.take_while(|byte| is_part(**byte)).count();
        Some(start..at)
    })
    .filter(|name| is_secret(&bytes[name.clone()]))
}

/// True for the name of a secret.
pub(super) fn is_secret(name: &[u8]) -> bool {
    let decoded = decode(name);
    ENDINGS.iter().any(|ending| decoded.ends_with(ending.as_bytes()))
}

/// Lower case, and without percent-encoding.
fn decode(name: &[u8]) -> Vec<u8> {
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let encoded = match (first, after) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        decoded.push(encoded.map_or(*first, |(high, low)| high << 4 | low));
        rest = &after[encoded.map_or(0, |_| 2)..];
    }
    decoded.make_ascii_lowercase();
    decoded
}

/// The value that belongs to a name: behind `=` anything, behind `:` (JSON, `Debug`) or nothing
/// (SQL) what is in quotes.
fn value(text: &str, name: Range<usize>) -> Option<Range<usize>> {
    let in_uri = text[..name.start].ends_with(['?', '&']);
    let position = |rest: &str| text.len() - rest.len();
    let after = &text[name.end..];
    let unquoted = after.trim_start_matches('\\').trim_start_matches(['"', '\'']);
    let rest = &unquoted[blanks(unquoted)..];
    if let Some(rest) = rest.strip_prefix('=') {
        let rest = rest.strip_prefix('>').unwrap_or(rest).trim_start();
        let rest = rest.strip_prefix("Some(").unwrap_or(rest);
        let start = position(rest);
        // Blanks as JSON and `Debug` write them, or a value that begins with a backslash.
        let shown = &rest[blanks(rest)..];
        let before = rest.len() - shown.len();
        let length = match quoted(shown) {
            Some(length) if shown.starts_with('\'') && !in_uri => before + length,
            // For libpq a backslash or a double quote begins a value without quotes.
            other => {
                let end = if in_uri {
                    parameter(text, start)
                } else {
                    before + bare(text, start + before)
                };
                end.max(other.map_or(0, |length| before + length))
            }
        };
        return Some(start..start + length);
    }
    let rest = match rest.strip_prefix(':') {
        Some(rest) => {
            let rest = rest.trim_start();
            rest.strip_prefix("Some(").unwrap_or(rest)
        }
        None if rest.len() < after.len() && rest.starts_with('\'') => rest,
        None => {
            if let Some(length) = dollar_quoted(rest) {
                return Some(position(rest)..position(rest) + length);
            }
            let prefixes = ["E", "e", "U&", "u&"];
            let mut literals = prefixes.iter().filter_map(|prefix| rest.strip_prefix(prefix));
            literals.next().filter(|rest| rest.starts_with('\''))?
        }
    };
    Some(position(rest)..position(rest) + quoted(rest)?)
}

/// Length of the blanks at the beginning, also those that JSON and `Debug` write with backslashes.
fn blanks(text: &str) -> usize {
    let mut rest = text.trim_start();
    while let Some(after) = rest.trim_start_matches('\\').strip_prefix(['t', 'n', 'r'])
        && rest.starts_with('\\')
    {
        rest = after.trim_start();
    }
    text.len() - rest.len()
}

/// Length of a value in quotes, with them. None when it does not begin with one. The quotes may
/// have been quoted again: `''x''` in `postgresql.conf`, `'\''x'\''` in a shell, `\"x\"` in JSON.
fn quoted(value: &str) -> Option<usize> {
    if let Some(inside) = value.strip_prefix(r"'\''")
        && let Some(end) = unescaped(inside, r"'\''", 0)
    {
        return Some(4 + end + 4);
    }
    let slashes = value.bytes().take_while(|byte| *byte == b'\\').count();
    let quote = value[slashes..].chars().next().filter(|ch| matches!(ch, '\'' | '"'))?;
    let begin = slashes + 1;
    let inside = &value[begin..];
    if let (0, Some(inside)) = (slashes, inside.strip_prefix(quote)) {
        let doubled = [quote; 2].iter().collect::<String>();
        let is_empty = quote == '"' || inside.chars().next().is_none_or(char::is_whitespace);
        return Some(match unescaped(inside, &doubled, 0) {
            _ if is_empty => 0,
            Some(end) => 2 + end + 2,
            // Cut off, or something else: it is not known where it ends.
            None => line_end(value, 0),
        });
    }
    let mut from = 0;
    while let Some(found) = unescaped(&inside[from..], quote.encode_utf8(&mut [0; 4]), slashes) {
        let end = from + found + 1;
        let after = inside[end..].chars().next();
        if after != Some(quote) && after.is_none_or(may_follow) {
            return Some(begin + end);
        }
        // Doubled, or in the midst of a word.
        from = end + usize::from(after == Some(quote));
    }
    // Without an end, all the rest.
    Some(value.len())
}

/// Length of SQL's `$$x$$` or `$tag$x$tag$`, with the signs; without an end, of all the rest.
fn dollar_quoted(value: &str) -> Option<usize> {
    let (tag, inside) = value.strip_prefix('$')?.split_once('$')?;
    let is_tag = tag.chars().all(|ch| ch.is_alphanumeric() || ch == '_')
        && !tag.starts_with(|ch: char| ch.is_ascii_digit());
    let sign = format!("${tag}$");
    let end = inside.find(&sign).map_or(inside.len(), |end| end + sign.len());
    is_tag.then(|| sign.len() + end)
}

/// What follows a closing quote.
fn may_follow(ch: char) -> bool {
    ch.is_whitespace() || "\"'`&,;:.)]}>\\".contains(ch)
}

/// Where a quote stands that has so many backslashes before it. More would escape it.
fn unescaped(text: &str, quote: &str, slashes: usize) -> Option<usize> {
    text.match_indices(quote).map(|(at, _)| at).find(|at| {
        text.as_bytes()[..*at].iter().rev().take_while(|byte| **byte == b'\\').count() == slashes
    })
}

/// Length of a key/value string's value without quotes: up to a blank that no backslash escapes.
/// Punctuation that closes what is around stays.
fn bare(text: &str, start: usize) -> usize {
    let value = &text[start..];
    let blanks = value.char_indices().filter(|(_, ch)| ch.is_whitespace());
    let mut ends = blanks.map(|(at, _)| at).filter(|at| !value[..*at].ends_with('\\'));
    let value = &value[..ends.next().unwrap_or(value.len())];
    let kept = value.strip_suffix([':', ',', ';', '.', ')']).unwrap_or(value);
    let line = &text[text[..start].rfind('\n').map_or(0, |at| at + 1)..start];
    let is_open = |quote: char| line.matches(quote).count() % 2 == 1;
    let closed = kept.strip_suffix(|ch| matches!(ch, '"' | '\'') && is_open(ch)).unwrap_or(kept);
    if closed.is_empty() { value.len() } else { closed.len() }
}

/// Where the last quote is that closes the one at the end of `before`. One that is escaped or
/// doubled is a part of the value.
fn closing(value: &str, quote: char, before: &str) -> Option<usize> {
    let slashes = |text: &str| text.bytes().rev().take_while(|byte| *byte == b'\\').count();
    let own = slashes(before.strip_suffix(quote)?);
    let mut ends = value.match_indices(quote).map(|(at, _)| at).filter(|at| {
        let (head, tail) = (&value[..*at], &value[at + 1..]);
        let next = tail.chars().next();
        let ends = next.is_none_or(|ch| ch != '\\' && ch != quote && may_follow(ch));
        ends && slashes(head) == own && !head.ends_with(quote)
    });
    ends.next_back().map(|at| at - own)
}

/// Length of a URI's parameter: up to the next one. The last one may have blanks and anything else;
/// it goes up to the quote that the URI is in, or to the end of the line.
fn parameter(text: &str, start: usize) -> usize {
    let value = &text[start..next_uri(text, start)];
    let is_next = |(at, _): &(usize, &str)| {
        let name = value[at + 1..].split('=').next().unwrap_or_default();
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'%');
        value[at + 1..].contains('=') && !name.is_empty() && name.bytes().all(is_part)
    };
    if let Some((end, _)) = value.match_indices('&').find(is_next) {
        return end;
    }
    let scheme = text[..start].rfind("://").map(|mark| uri::scheme_start(text, mark));
    let before = scheme.map_or("", |scheme| &text[..scheme]);
    let close = before.chars().next_back().filter(|ch| matches!(ch, '"' | '\''));
    close.and_then(|quote| closing(value, quote, before)).unwrap_or(value.trim_end().len())
}
