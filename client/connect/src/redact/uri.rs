//! Passwords between `user:` and `@`.

use std::ops::Range;

use super::next_uri;

/// Where the passwords of URIs are.
pub(super) fn secrets(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("://").filter_map(|(mark, _)| password(text, mark))
}

/// Where the scheme begins that ends at this position.
pub(super) fn scheme_start(text: &str, mark: usize) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    mark - text.as_bytes()[..mark].iter().rev().take_while(|byte| is_part(byte)).count()
}

fn password(text: &str, mark: usize) -> Option<Range<usize>> {
    let begin = mark + 3;
    let scheme = text[scheme_start(text, mark)..mark].to_ascii_lowercase();
    let rest = &text[begin..next_uri(text, begin)];
    let is_ours = scheme.ends_with("postgres") || scheme.ends_with("postgresql");
    let found = if is_ours { of_postgres(rest) } else { of_others(rest) }?;
    (!found.is_empty()).then(|| begin + found.start..begin + found.end)
}

/// libpq takes everything up to an at sign, the driver up to the last one. Neither minds slashes,
/// question marks, quotes or blanks there; so an at sign further on may be the one.
fn of_postgres(rest: &str) -> Option<Range<usize>> {
    let stop = rest.find(|ch: char| ":@/?".contains(ch) || ch.is_whitespace())?;
    let last = rest.rfind('@');
    match &rest[stop..=stop] {
        ":" => match last.filter(|at| *at > stop) {
            Some(at) => Some(stop + 1..at),
            // No host was written.
            None => lonely(rest, stop + 1),
        },
        // The user's name has an at sign itself, or is without a password and a port follows.
        "@" => {
            let host = &rest[stop + 1..];
            let address = address(host);
            let after = &host[address..];
            let colon =
                address + after.find(|ch: char| ":/?".contains(ch) || ch.is_whitespace())?;
            let start = stop + 1 + colon + 1;
            let word = word_end(rest, start);
            let is_port = host[colon..].starts_with(':') && starts_with_port(&rest[start..]);
            match last {
                Some(at) if host[colon..].starts_with(':') && at > start => {
                    (!is_port || rest[start..word].contains('@')).then_some(start..at)
                }
                // Cut off before the at sign, perhaps.
                _ if host[colon..].starts_with(':') => lonely(rest, start),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A password of another program's URI: up to the last at sign of the word.
fn of_others(rest: &str) -> Option<Range<usize>> {
    let word = &rest[..word_end(rest, 0)];
    let colon = word.find([':', '/', '?', '#'])?;
    let at = word.rfind('@').filter(|at| *at > colon)?;
    let is_password = word[colon..].starts_with(':') && !word[colon + 1..].starts_with('/');
    (is_password && !starts_with_port(&word[colon + 1..])).then_some(colon + 1..at)
}

/// What follows `NAME:` without any at sign, unless it is a port: it may be cut off.
fn lonely(rest: &str, start: usize) -> Option<Range<usize>> {
    let is_address = start < address(rest);
    (!is_address && !starts_with_port(&rest[start..])).then_some(start..rest.len())
}

/// Length of an IPv6 address in brackets, with them; 0 without one.
fn address(text: &str) -> usize {
    let inside = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let is_part = |ch: char| ch.is_ascii_hexdigit() || ":.".contains(ch);
    inside
        .filter(|(inside, _)| inside.chars().all(is_part))
        .map_or(0, |(inside, _)| inside.len() + 2)
}

fn word_end(text: &str, start: usize) -> usize {
    let end = text[start..].find(|ch: char| ch.is_whitespace() || "\"'`<>".contains(ch));
    end.map_or(text.len(), |length| start + length)
}

/// True for a port, none, or several with their hosts, and nothing else behind it.
fn starts_with_port(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let after = text[digits..].chars().next();
    digits <= 5 && after.is_none_or(|ch| ch.is_whitespace() || "/?#,;:.)]}>\"'`\\".contains(ch))
}
