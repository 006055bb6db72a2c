//! The two syntaxes of connection strings.

use std::collections::BTreeMap;

use crate::error::Error;

/// Options of a connection string in any of its forms.
pub(super) fn parse(dsn: &str) -> Result<BTreeMap<String, String>, Error> {
    let dsn = dsn.trim();
    for scheme in ["postgres://", "postgresql://"] {
        if let Some(rest) = dsn.strip_prefix(scheme) {
            return parse_uri(rest);
        }
    }
    let key = dsn.split('=').next().unwrap_or_default();
    if ["://", ":/", "@"].iter().any(|part| key.contains(part)) {
        return Err(mistyped_uri());
    }
    if !dsn.is_empty() && !dsn.contains('=') {
        return Ok(BTreeMap::from([("dbname".to_owned(), dsn.to_owned())]));
    }
    parse_pairs(dsn)
}

/// Not repeated: it may have a password in it, and a database of that name would be asked for over
/// the network.
fn mistyped_uri() -> Error {
    Error::Config(
        "connection string: it looks like a URI, but does not begin with postgres:// or \
         postgresql://; a database of such a name is written dbname='NAME'"
            .to_owned(),
    )
}

fn parse_pairs(text: &str) -> Result<BTreeMap<String, String>, Error> {
    let mut options = BTreeMap::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else {
            return Err(Error::Config("connection string: missing \"=\" after a key".to_owned()));
        };
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(Error::Config("connection string: missing \"=\" after a key".to_owned()));
        }
        // What follows a value may be the rest of it.
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Error::Config(
                "connection string: a key has other characters than letters and \"_\"".to_owned(),
            ));
        }
        let (value, after) = take_value(after.trim_start())?;
        options.insert(key.to_owned(), value);
        rest = after.trim_start();
    }
    Ok(options)
}

fn take_value(text: &str) -> Result<(String, &str), Error> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices();
    if quoted {
        chars.next();
    }
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            _ if !quoted && char.is_whitespace() => return Ok((value, &text[at..])),
            _ => value.push(char),
        }
    }
    if quoted {
        return Err(Error::Config("connection string: unterminated quoted value".to_owned()));
    }
    Ok((value, ""))
}

/// `[user[:password]@][host[:port][,…]][/dbname][?key=value&…]`, after the scheme.
fn parse_uri(text: &str) -> Result<BTreeMap<String, String>, Error> {
    let mut options = BTreeMap::new();
    // As libpq, which looks for an "@" before the first "/": a "?" in a password ends nothing.
    let (user_info, text) = match text.find(['@', '/']) {
        Some(at) if text[at..].starts_with('@') => (Some(&text[..at]), &text[at + 1..]),
        _ => (None, text),
    };
    let (text, parameters) = text.split_once('?').unwrap_or((text, ""));
    let (hosts, database) = text.split_once('/').unwrap_or((text, ""));
    if hosts.contains('@') {
        // What stands before it would be the rest of a password.
        return Err(Error::Config(
            "connection URI: a host has an \"@\"; in a password it is written %40".to_owned(),
        ));
    }
    if let Some(user_info) = user_info {
        let (user, password) = match user_info.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user_info, None),
        };
        options.insert("user".to_owned(), percent_decode(user)?);
        if let Some(password) = password {
            options.insert("password".to_owned(), percent_decode(password)?);
        }
    }
    if !hosts.is_empty() {
        let mut names = Vec::new();
        let mut ports = Vec::new();
        for host in hosts.split(',') {
            let (name, port) = split_port(host);
            names.push(percent_decode(name)?);
            ports.push(port.to_owned());
        }
        options.insert("host".to_owned(), names.join(","));
        if ports.iter().any(|port| !port.is_empty()) {
            let ports: Vec<_> = ports
                .into_iter()
                .map(|port| if port.is_empty() { "5432".to_owned() } else { port })
                .collect();
            options.insert("port".to_owned(), ports.join(","));
        }
    }
    if !database.is_empty() {
        options.insert("dbname".to_owned(), percent_decode(database)?);
    }
    for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            // What it is may be a part of a password.
            return Err(Error::Config(
                "connection URI: a parameter has no value; \"?\", \"&\" and \"/\" in a password \
                 are written %3F, %26 and %2F"
                    .to_owned(),
            ));
        };
        match (percent_decode(key)?.as_str(), percent_decode(value)?) {
            // JDBC's, which libpq takes in URIs.
            ("ssl", value) if value == "true" => {
                options.insert("sslmode".to_owned(), "require".to_owned());
            }
            (key, value) => {
                options.insert(key.to_owned(), value);
            }
        }
    }
    Ok(options)
}

/// A host of a URI without its port; an IPv6 address stands in brackets.
fn split_port(host: &str) -> (&str, &str) {
    if let Some((address, after)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, after.strip_prefix(':').unwrap_or(""));
    }
    host.rsplit_once(':').unwrap_or((host, ""))
}

fn percent_decode(text: &str) -> Result<String, Error> {
    let bad = || Error::Config("connection URI: bad percent-encoding".to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
            let byte = digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or_else(bad)?;
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn option(dsn: &str, key: &str) -> Option<String> {
        parse(dsn).unwrap().remove(key)
    }

    #[test]
    fn bare_name_is_a_database() {
        assert_eq!(option("orders", "dbname").as_deref(), Some("orders"));
    }

    #[test]
    fn quoted_values_keep_spaces_and_quotes() {
        let dsn = r"host = /tmp dbname='a b\'c' user=x";
        assert_eq!(option(dsn, "dbname").as_deref(), Some("a b'c"));
        assert_eq!(option(dsn, "host").as_deref(), Some("/tmp"));
        assert_eq!(option(dsn, "user").as_deref(), Some("x"));
    }

    #[test]
    fn uri_with_many_hosts() {
        let dsn =
            "postgres://u%40x:p%3Aw@a:1,[::1]:2,c/d?sslmode=require&target_session_attrs=primary";
        assert_eq!(option(dsn, "host").as_deref(), Some("a,::1,c"));
        assert_eq!(option(dsn, "port").as_deref(), Some("1,2,5432"));
        assert_eq!(option(dsn, "user").as_deref(), Some("u@x"));
        assert_eq!(option(dsn, "password").as_deref(), Some("p:w"));
        assert_eq!(option(dsn, "dbname").as_deref(), Some("d"));
        assert_eq!(option(dsn, "target_session_attrs").as_deref(), Some("primary"));
    }

    #[test]
    fn a_uris_password_ends_where_libpq_ends_it() {
        let dsn = "postgres://u:ab?cdef=&g@h/d?port=7";
        assert_eq!(option(dsn, "password").as_deref(), Some("ab?cdef=&g"));
        assert_eq!(option(dsn, "host").as_deref(), Some("h"));
        assert_eq!(option(dsn, "port").as_deref(), Some("7"));
        assert_eq!(option("postgres://h/d?user=a@b", "user").as_deref(), Some("a@b"));
        let error = parse("postgres://u:QX@Z@h/d").unwrap_err().to_string();
        assert!(!error.contains(['Q', 'X', 'Z']), "{error}");
    }

    #[test]
    fn a_mistyped_uri_is_no_database_and_is_not_repeated() {
        for dsn in [
            "postgres:/u:QXZ@h/d",
            "postgres//u:QXZ@h/d",
            "postgres:/u:Q=XZ@h/d",
            "postgres:/u:QXZ@h/d?sslmode=require",
            "Postgres://u:QXZ@h/d",
            "mysql://u:QXZ@h",
            "u:QXZ@h/d",
            "u:QXZ=1@h/d",
            "host=a password='x'u:QXZ=y",
        ] {
            let error = parse(dsn).unwrap_err().to_string();
            assert!(!error.contains(['Q', 'X', 'Z']), "{error}");
        }
        assert_eq!(option("dbname=a@b", "dbname").as_deref(), Some("a@b"));
    }

    #[test]
    fn broken_strings_are_refused() {
        for dsn in ["host=a b", "host='a", "=a", "postgres://h/%zz", "postgres://h/d?x"] {
            assert!(parse(dsn).is_err(), "{dsn}");
        }
    }
}
