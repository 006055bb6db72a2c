//! Take passwords out of texts that contain connection strings.

const MASK: &str = "********";

/// Replace the value of every `password=…` and the password part of every
/// `postgres://user:password@` by asterisks.
pub(crate) fn redact(text: &str) -> String {
    redact_uri(&redact_keyword(text, MASK), MASK)
}

fn redact_keyword(text: &str, mask: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.to_ascii_lowercase().find("password") {
        let (before, from) = rest.split_at(at + "password".len());
        out.push_str(before);
        let value = from.trim_start();
        let Some(value) = value.strip_prefix('=') else {
            rest = from;
            continue;
        };
        let value = value.trim_start();
        out.push('=');
        out.push_str(mask);
        rest = value.get(value_length(value)..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Length of a libpq value: quoted with backslash escapes, or up to a blank.
fn value_length(value: &str) -> usize {
    let quoted = value.starts_with('\'');
    let mut escaped = false;
    for (at, ch) in value.char_indices().skip(usize::from(quoted)) {
        match ch {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' if quoted => return at + 1,
            ' ' | '\t' | '\n' | '"' | '&' if !quoted => return at,
            _ => {}
        }
    }
    value.len()
}

fn redact_uri(text: &str, mask: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, from) = rest.split_at(at + 3);
        out.push_str(before);
        let end = from.find(|ch: char| ch == '/' || ch.is_whitespace()).unwrap_or(from.len());
        let (authority, after) = from.split_at(end);
        match authority.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
            Some((Some((user, _)), host)) => {
                out.push_str(&format!("{user}:{mask}@{host}"));
            }
            _ => out.push_str(authority),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn passwords_disappear_and_the_rest_stays() {
        for (text, expected) in [
            ("host=a password=secret dbname=b", "host=a password=******** dbname=b"),
            ("password = 'it''s \\' deep' user=x", "password=********'s \\' deep' user=x"),
            ("PASSWORD='a \\' b' user=x", "PASSWORD=******** user=x"),
            ("postgres://me:secret@host/db", "postgres://me:********@host/db"),
            ("postgres://me@host/db?password=x", "postgres://me@host/db?password=********"),
            ("the password is wrong", "the password is wrong"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }
}
