//! Connection strings as libpq takes them: key/value or URI, completed from the environment, the
//! service file and the password file. Nothing here talks to a server.

mod environment;
mod keywords;
mod parse;
mod passfile;

use std::collections::BTreeMap;
use std::fmt;

use crate::error::Error;
use crate::quote;
use crate::redact::is_secret;
use keywords::Treatment;

/// A parsed connection string.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Conninfo {
    options: BTreeMap<String, String>,
}

impl fmt::Debug for Conninfo {
    /// Names of secrets, but no secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.options().map(|(key, value)| {
            let hidden = is_secret(key) && !value.is_empty();
            (key, if hidden { "***" } else { value })
        });
        formatter.debug_map().entries(shown).finish()
    }
}

impl Conninfo {
    /// Parse a URI (`postgres://…`), a key/value string, or a bare database name. The empty string
    /// is all defaults.
    ///
    /// # Errors
    /// [`Error::Config`] for bad syntax or an option libpq does not know either.
    pub fn parse(dsn: &str) -> Result<Self, Error> {
        let conninfo = Self { options: parse::parse(dsn)? };
        for key in conninfo.options.keys() {
            if keywords::treatment(key).is_none() {
                return Err(Error::Config(format!("unknown connection option \"{key}\"")));
            }
        }
        Ok(conninfo)
    }

    /// Parse, then fill what is missing as libpq does: service file, `PG*` variables, password
    /// file, the local socket.
    ///
    /// # Errors
    /// As [`Conninfo::parse`]; also when a named service does not exist, and for options that ask
    /// for something that we cannot do.
    pub fn with_environment(dsn: &str) -> Result<Self, Error> {
        Self::with_defaults(dsn, &[])
    }

    /// The same, with a program's own defaults for options that nothing else says anything of.
    ///
    /// # Errors
    /// As [`Conninfo::with_environment`].
    pub fn with_defaults(dsn: &str, defaults: &[(&str, &str)]) -> Result<Self, Error> {
        let mut conninfo = Self::parse(dsn)?;
        environment::complete(&mut conninfo.options, |name| std::env::var(name).ok())?;
        for (key, value) in defaults {
            if conninfo.get(key).is_none() {
                conninfo.set(key, value);
            }
        }
        conninfo.check()?;
        if conninfo.get("password").is_none()
            && let Some(password) = passfile::look_up(&conninfo)
        {
            conninfo.set("password", &password);
        }
        Ok(conninfo)
    }

    /// Refuse options that cannot be honoured: a connection that is less safe than it was asked to
    /// be is not made.
    pub(crate) fn check(&self) -> Result<(), Error> {
        keywords::check(self)
    }

    /// All options, in the order of their names. A value may be empty.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of an option.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Set an option.
    pub fn set(&mut self, key: &str, value: &str) {
        self.options.insert(key.to_owned(), value.to_owned());
    }

    /// The same server, another database.
    pub fn database(mut self, name: &str) -> Self {
        self.set("dbname", name);
        self
    }

    /// Hosts, database and user for messages; no password.
    pub fn label(&self) -> String {
        let host = self.get("host").or_else(|| self.get("hostaddr")).unwrap_or("the local server");
        let port = self.get("port").map(|port| format!(":{port}")).unwrap_or_default();
        let user = self.get("user").map(|user| format!(" as {user}")).unwrap_or_default();
        let database = self.get("dbname").or_else(|| self.get("user")).unwrap_or("");
        format!("{host}{port}/{database}{user}")
    }

    /// The string form for the driver, with only the options it knows.
    pub(crate) fn for_driver(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.options {
            if let Some(Treatment::Driver(name)) = keywords::treatment(key)
                && !value.is_empty()
            {
                push_option(&mut text, name, value);
            }
        }
        if let (None, Some(name)) =
            (self.get("application_name"), self.get("fallback_application_name"))
        {
            push_option(&mut text, "application_name", name);
        }
        let attributes = match self.get("target_session_attrs") {
            Some("primary" | "read-write") => Some("read-write"),
            Some("standby" | "read-only") => Some("read-only"),
            _ => None,
        };
        if let Some(attributes) = attributes {
            push_option(&mut text, "target_session_attrs", attributes);
        }
        text
    }
}

fn push_option(text: &mut String, key: &str, value: &str) {
    text.push_str(&quote::option(key, value));
    text.push(' ');
}

#[cfg(test)]
mod tests {
    use super::Conninfo;

    #[test]
    fn unknown_option_is_named() {
        let error = Conninfo::parse("host=a hots=b").unwrap_err();
        assert_eq!(error.to_string(), "unknown connection option \"hots\"");
    }

    #[test]
    fn label_has_no_password() {
        let conninfo = Conninfo::parse("host=a port=1 dbname=d user=u password=secret").unwrap();
        assert_eq!(conninfo.label(), "a:1/d as u");
        let shown = format!("{conninfo:?}");
        assert!(shown.contains("\"password\": \"***\""), "{shown}");
    }

    #[test]
    fn driver_string_keeps_odd_characters() {
        let conninfo = Conninfo::parse(r"dbname='it\'s \\ me' sslmode=verify-full").unwrap();
        assert_eq!(conninfo.for_driver(), r"dbname='it\'s \\ me' ");
    }
}
