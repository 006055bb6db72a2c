//! Connection strings for other programs: what everybody may see on a command line, and apart from
//! it what nobody may.

use std::process::Command;

use crate::conninfo::Conninfo;
use crate::error::Error;
use crate::quote;
use crate::redact::is_secret;

/// A connection string in two parts.
#[derive(PartialEq, Eq)]
pub struct ForProgram {
    /// For the command line.
    text: String,
    /// For the environment.
    password: Option<String>,
}

impl ForProgram {
    /// Take a connection string apart, with one more option that wins over those in it. Nothing is
    /// completed: the other program does that as we would, but that the password of a service wins
    /// there over the string's.
    ///
    /// # Errors
    /// [`Error::Config`] for a string that is not understood, or that has a secret which would be
    /// seen; what it says is not repeated.
    pub fn new(dsn: &str, more: Option<(&str, &str)>) -> Result<Self, Error> {
        let not_understood = || {
            Error::Config(
                "a connection string that is not understood goes to no other program: \
                 it could have a password"
                    .to_owned(),
            )
        };
        // A mistyped URI would be taken for the name of a database.
        let is_name = !dsn.contains('=') && !dsn.contains("://");
        if is_name && dsn.contains([':', '/', '@']) {
            return Err(not_understood());
        }
        let mut conninfo = Conninfo::parse(dsn).map_err(|_| not_understood())?;
        if let Some((key, value)) = more {
            conninfo.set(key, value);
        }
        let mut shown = Vec::new();
        let mut password = None;
        for (key, value) in conninfo.options() {
            if key == "password" {
                password = Some(value.to_owned()).filter(|value| !value.is_empty());
            } else if !is_secret(key) {
                shown.push(quote::option(key, value));
            } else if !value.is_empty() {
                return Err(Error::Config(format!(
                    "{key} cannot be passed to another program without being seen: do without it"
                )));
            }
        }
        Ok(Self { text: shown.join(" "), password })
    }

    /// Give it to a program that takes `--dbname`.
    pub fn give(&self, command: &mut Command) {
        command.args(["--dbname", &self.text]);
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
    }
}

impl std::fmt::Debug for ForProgram {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("ForProgram").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::ForProgram;

    fn taken(dsn: &str) -> (String, Option<String>) {
        let taken = ForProgram::new(dsn, None).unwrap();
        assert!(!format!("{taken:?}").contains("s e"));
        (taken.text, taken.password)
    }

    #[test]
    fn a_password_goes_another_way_and_the_rest_stays() {
        for (dsn, rest) in [
            ("host=a password='s e' user=b", "host='a' user='b'"),
            ("host=a password = s\\ e", "host='a'"),
            ("password=old host=a password='s e'", "host='a'"),
            // What the driver of this program does not know.
            (
                "host=a password='s e' sslmode=verify-full sslrootcert=/x passfile=/y gssencmode=require",
                "gssencmode='require' host='a' passfile='/y' sslmode='verify-full' sslrootcert='/x'",
            ),
            ("postgres://me:s%20e@host/db", "dbname='db' host='host' user='me'"),
            (
                "postgresql://me@[::1]:5433,b/db?pass%77ord=s%20e&sslmode=verify-ca&ssl=true",
                "dbname='db' host='::1,b' port='5433,5432' sslmode='require' user='me'",
            ),
            ("postgres:///?password=s%20e&host=/tmp", "host='/tmp'"),
        ] {
            assert_eq!(taken(dsn), (rest.to_owned(), Some("s e".to_owned())), "{dsn}");
        }
        assert_eq!(taken("user='it\\'s'"), ("user='it\\'s'".to_owned(), None));
        assert_eq!(taken(" "), (String::new(), None));
        assert_eq!(taken("orders"), ("dbname='orders'".to_owned(), None));
        let named = ForProgram::new("application_name=x host=a", Some(("application_name", "w")));
        assert_eq!(named.unwrap().text, "application_name='w' host='a'");
    }

    #[test]
    fn what_is_not_understood_or_would_be_seen_goes_nowhere() {
        for dsn in [
            "host=a password='secret",
            "host=a password",
            "host=a secret=x",
            "postgres:/me:secret@host/db",
            "postgres://me:%zz@host/db",
            "host=a sslpassword=secret",
            "postgres://h/?scram_client_key=secret",
        ] {
            let error = ForProgram::new(dsn, None).unwrap_err();
            assert!(!error.to_string().contains("sec"), "{error}");
        }
    }
}
