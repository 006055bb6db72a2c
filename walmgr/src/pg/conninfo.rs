//! Connection strings for other programs: what everybody may see on a command line, and apart from
//! it what nobody may.
//!
//! Read here as libpq reads them, in both forms: a password that the driver, or a search for a
//! word, does not find must not slip through.

use std::process::Command;

use crate::error::{Error, Result};

/// Secrets that no environment variable can carry.
const SECRETS: [&str; 4] =
    ["sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"];

/// A connection string in two parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ForProgram {
    /// For the command line.
    text: String,
    /// For the environment.
    password: Option<String>,
}

impl ForProgram {
    /// Take a connection string apart, with one more option that wins over those in it.
    ///
    /// # Errors
    /// [`Error::Usage`] for one that is not understood, or that has a secret which would be seen;
    /// what it says is not repeated.
    pub(crate) fn new(conninfo: &str, more: Option<(&str, &str)>) -> Result<Self> {
        let mut options = parse(conninfo).ok_or_else(|| {
            Error::Usage(
                "a connection string that is not understood goes to no other program: \
                 it could have a password"
                    .to_owned(),
            )
        })?;
        if let Some((key, value)) = more {
            options.push((key.to_owned(), value.to_owned()));
        }
        let mut password = None;
        let mut text = String::new();
        for (number, (key, value)) in options.iter().enumerate() {
            let is_last = !options.iter().skip(number + 1).any(|(other, _)| other == key);
            if SECRETS.contains(&key.as_str()) && !value.is_empty() {
                return Err(Error::Usage(format!(
                    "{key} cannot be passed to another program without being seen: do without it"
                )));
            }
            if !is_last || SECRETS.contains(&key.as_str()) {
                continue;
            }
            if key == "password" {
                password = Some(value.clone()).filter(|value| !value.is_empty());
                continue;
            }
            let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
            let blank = if text.is_empty() { "" } else { " " };
            text += &format!("{blank}{key}='{quoted}'");
        }
        Ok(Self { text, password })
    }

    /// Give it to a program that takes `--dbname`.
    pub(crate) fn give(&self, command: &mut Command) {
        command.args(["--dbname", &self.text]);
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
    }
}

/// All options, the later ones of a name winning.
fn parse(conninfo: &str) -> Option<Vec<(String, String)>> {
    let text = conninfo.trim_start();
    for scheme in ["postgres://", "postgresql://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return parse_uri(rest);
        }
    }
    parse_pairs(text)
}

fn parse_pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut options = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let key = key.trim_end();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        let (value, after) = value(after.trim_start())?;
        options.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Some(options)
}

fn value(text: &str) -> Option<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, ch)) = chars.next() {
        match ch {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Some((value, text.get(at + 1..)?)),
            _ if !quoted && ch.is_ascii_whitespace() => return Some((value, text.get(at..)?)),
            _ => value.push(ch),
        }
    }
    (!quoted).then_some((value, ""))
}

/// `[user[:password]@][host[:port][,…]][/dbname][?key=value&…]`.
fn parse_uri(text: &str) -> Option<Vec<(String, String)>> {
    let mut options = Vec::new();
    let mut add = |key: &str, value: &str| {
        options.push((decode(key)?, decode(value)?));
        Some(())
    };
    let (text, parameters) = text.split_once('?').unwrap_or((text, ""));
    // libpq takes what is before the first at sign, if that comes before any slash.
    let end = text.find('/').unwrap_or(text.len());
    let (authority, database) = text.split_at(end);
    let hosts = match authority.split_once('@') {
        Some((user, hosts)) => {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            if !user.is_empty() {
                add("user", user)?;
            }
            if !password.is_empty() {
                add("password", password)?;
            }
            hosts
        }
        None => authority,
    };
    if hosts.contains('@') {
        return None;
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (name, rest) = rest.split_once(']')?;
                (name, rest.strip_prefix(':').unwrap_or(rest))
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decode(name)?);
        ports.push(decode(port)?);
    }
    let some = |parts: &[String]| parts.iter().any(|part| !part.is_empty());
    if some(&names) {
        options.push(("host".to_owned(), names.join(",")));
    }
    if some(&ports) {
        options.push(("port".to_owned(), ports.join(",")));
    }
    let database = database.trim_start_matches('/');
    if !database.is_empty() {
        options.push(("dbname".to_owned(), decode(database)?));
    }
    for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=')?;
        match (key, value) {
            // As JDBC says it.
            ("ssl", "true") => options.push(("sslmode".to_owned(), "require".to_owned())),
            _ => options.push((decode(key)?, decode(value)?)),
        }
    }
    Some(options)
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16).and_then(|d| u8::try_from(d).ok());
        bytes.push(digit()? << 4 | digit()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::ForProgram;

    fn taken(conninfo: &str) -> (String, Option<String>) {
        let taken = ForProgram::new(conninfo, None).unwrap();
        (taken.text, taken.password)
    }

    #[test]
    fn a_password_goes_another_way_and_the_rest_stays() {
        for (conninfo, rest) in [
            ("host=a password='s e' user=b", "host='a' user='b'"),
            ("host=a password = s\\ e", "host='a'"),
            ("password=old host=a password='s e'", "host='a'"),
            // What the driver of this program does not know.
            (
                "host=a password='s e' sslmode=verify-full sslrootcert=/x passfile=/y gssencmode=disable",
                "host='a' sslmode='verify-full' sslrootcert='/x' passfile='/y' gssencmode='disable'",
            ),
            ("postgres://me:s%20e@host/db", "user='me' host='host' dbname='db'"),
            (
                "postgresql://me@[::1]:5433,b/db?password=s%20e&sslmode=verify-ca&ssl=true",
                "user='me' host='::1,b' port='5433,' dbname='db' sslmode='require'",
            ),
            ("postgres:///?password=s%20e&host=/tmp", "host='/tmp'"),
        ] {
            assert_eq!(taken(conninfo), (rest.to_owned(), Some("s e".to_owned())), "{conninfo}");
        }
        assert_eq!(taken("user='it\\'s'"), ("user='it\\'s'".to_owned(), None));
        assert_eq!(taken(" "), (String::new(), None));
        let named = ForProgram::new("application_name=x host=a", Some(("application_name", "w")));
        assert_eq!(named.unwrap().text, "host='a' application_name='w'");
    }

    #[test]
    fn what_is_not_understood_or_would_be_seen_goes_nowhere() {
        for conninfo in [
            "host=a password='secret",
            "host=a password",
            "postgres://me:sec@ret@host/db",
            "postgres://me:%zz@host/db",
            "host=a sslpassword=secret",
            "postgres://h/?scram_client_key=secret",
        ] {
            let error = ForProgram::new(conninfo, None).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(!error.to_string().contains("sec"), "{error}");
        }
    }
}
