//! Take passwords out of text before anybody sees it.

/// The text with every password in it replaced by `***`: `password=…` of key/value strings (quoted
/// or not) and of URI parameters, and `user:password@` of URIs.
pub fn redact(text: &str) -> String {
    redact_uris(&redact_keys(text))
}

fn redact_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = find_key(rest) {
        let (before, value) = rest.split_at(found);
        out.push_str(before);
        out.push_str("***");
        rest = &value[value_length(value)..];
    }
    out.push_str(rest);
    out
}

/// Where the value after the next `password=` or `sslpassword=` begins.
fn find_key(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let mut from = 0;
    while let Some(at) = lower[from..].find("password") {
        let key_end = from + at + "password".len();
        let after = &text[key_end..];
        let trimmed = after.trim_start();
        if let Some(value) = trimmed.strip_prefix('=') {
            let value = value.trim_start();
            return Some(text.len() - value.len());
        }
        from = key_end;
    }
    None
}

fn value_length(value: &str) -> usize {
    let mut chars = value.char_indices();
    if value.starts_with('\'') {
        chars.next();
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' => {
                    chars.next();
                }
                '\'' => return at + 1,
                _ => {}
            }
        }
        return value.len();
    }
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => {
                chars.next();
            }
            '&' | ' ' | '\t' | '\n' | '\r' | '"' => return at,
            _ => {}
        }
    }
    value.len()
}

fn redact_uris(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c == '/' || c == '?' || c.is_whitespace());
        let authority = &after[..end.unwrap_or(after.len())];
        match authority.rsplit_once('@').and_then(|(user_info, _)| user_info.split_once(':')) {
            Some((user, _)) => {
                let host = authority.rsplit_once('@').map_or("", |(_, host)| host);
                out.push_str(user);
                out.push_str(":***@");
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = &after[authority.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::redact;

    #[test]
    fn passwords_disappear_from_every_form() {
        for (text, expected) in [
            ("host=a password=secret dbname=d", "host=a password=*** dbname=d"),
            ("password = 'se\\'c ret' host=a", "password = *** host=a"),
            ("password=se\\ cret host=a", "password=*** host=a"),
            ("postgres://joe:secret@h:5/db?x=1", "postgres://joe:***@h:5/db?x=1"),
            ("postgres://joe@h/db?password=secret&y=2", "postgres://joe@h/db?password=***&y=2"),
            ("postgresql://u:p@ss@h/db", "postgresql://u:***@h/db"),
            ("password authentication failed for user", "password authentication failed for user"),
            ("PASSWORD=x", "PASSWORD=***"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    proptest! {
        #[test]
        fn no_password_survives(secret in "[A-Za-z0-9]{8,20}", noise in "[a-z =:/@'?&]{0,30}") {
            let kv = redact(&format!("{noise} password='{secret}' {noise}"));
            prop_assert!(!kv.contains(&secret));
            let uri = redact(&format!("postgres://joe:{secret}@host/db"));
            prop_assert!(!uri.contains(&secret));
        }
    }
}
