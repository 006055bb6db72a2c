//! Connection strings as libpq takes them: key/value or URI, completed from the environment, the
//! service file and the password file. Nothing here talks to a server.

pub(crate) mod encryption;
mod environment;
mod keywords;
mod parse;
mod passfile;

use std::collections::BTreeMap;
use std::fmt;

use tokio_postgres::Config;

use crate::error::{Error, with_causes};
use crate::quote;
use crate::redact::{is_secret, redact};
use keywords::Treatment;

/// A parsed connection string.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Conninfo {
    options: BTreeMap<String, String>,
    /// Of each host, where they differ. No host sees that of another.
    passwords: Vec<Option<String>>,
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
        let conninfo = Self { options: parse::parse(dsn)?, passwords: Vec::new() };
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
        let mut conninfo = Self::without_password_file(dsn, defaults)?;
        if conninfo.get("password").is_none() {
            let passwords = passfile::look_up(&conninfo);
            match passwords.split_first() {
                Some((Some(one), more)) if more.iter().all(|other| other.as_ref() == Some(one)) => {
                    conninfo.set("password", one);
                }
                _ => conninfo.passwords = passwords,
            }
        }
        Ok(conninfo)
    }

    /// The same once more for who does not connect: the password file is not looked at, and nothing
    /// is said of it.
    ///
    /// # Errors
    /// As [`Conninfo::with_environment`].
    pub fn without_password_file(dsn: &str, defaults: &[(&str, &str)]) -> Result<Self, Error> {
        let mut conninfo = Self::parse(dsn)?;
        environment::complete(&mut conninfo.options, environment::variable)?;
        for (key, value) in defaults {
            if conninfo.get(key).is_none() {
                conninfo.set(key, value);
            }
        }
        conninfo.check()?;
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

    /// One connection string for each host, with the password that is for it.
    pub(crate) fn of_each_host(&self) -> Vec<Self> {
        let [hosts, addresses, ports] =
            ["host", "hostaddr", "port"].map(|key| (key, self.list(key)));
        let one = |index: usize| {
            let mut one = Self { options: self.options.clone(), passwords: Vec::new() };
            for (key, values) in [&hosts, &addresses, &ports] {
                // One port may be for all.
                let only = values.first().filter(|_| values.len() == 1);
                if let Some(value) = values.get(index).or(only) {
                    one.set(key, value);
                }
            }
            if let Some(Some(password)) = self.passwords.get(index) {
                one.set("password", password);
            }
            one
        };
        (0..self.hosts().max(1)).map(one).collect()
    }

    /// What to connect by, one after the other: itself, or one for each host where they have
    /// passwords of their own. Lists that do not go together stay so, for the driver to refuse.
    pub(crate) fn apart(&self) -> Vec<Self> {
        let has_own = self.passwords.iter().any(Option::is_some);
        let fits = |key: &str, least: usize| {
            let length = self.list(key).len();
            length <= least || length == self.hosts()
        };
        if has_own
            && self.get("password").is_none()
            && fits("host", 0)
            && fits("hostaddr", 0)
            && fits("port", 1)
        {
            self.of_each_host()
        } else {
            vec![self.clone()]
        }
    }

    fn list(&self, key: &str) -> Vec<&str> {
        self.get(key).map(|value| value.split(',').collect()).unwrap_or_default()
    }

    /// How many there are.
    fn hosts(&self) -> usize {
        self.list("host").len().max(self.list("hostaddr").len())
    }

    /// Hosts, database and user for messages; no password, also where one stands in a name.
    pub fn label(&self) -> String {
        let host = self.get("host").or_else(|| self.get("hostaddr")).unwrap_or("the local server");
        let port = self.get("port").map(|port| format!(":{port}")).unwrap_or_default();
        let user = self.get("user").map(|user| format!(" as {user}")).unwrap_or_default();
        let database = self.get("dbname").or_else(|| self.get("user")).unwrap_or("");
        redact(&format!("{host}{port}/{database}{user}"))
    }

    /// As the driver takes it.
    ///
    /// # Errors
    /// [`Error::Config`] for a value that the driver does not understand.
    pub(crate) fn for_driver(&self) -> Result<Config, Error> {
        self.driver_options()
            .parse()
            .map_err(|error: postgres::Error| Error::Config(redact(&with_causes(&error))))
    }

    /// The string form for the driver, with only the options it knows.
    fn driver_options(&self) -> String {
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
        let conninfo = Conninfo::parse("host=a dbname='postgres://u:secret@h/d'").unwrap();
        assert!(!conninfo.label().contains("secret"), "{}", conninfo.label());
    }

    #[test]
    fn each_host_gets_its_own_password_and_no_other() {
        let mut conninfo = Conninfo::parse("host=a,b,/c port=1,2,3 user=u").unwrap();
        conninfo.passwords = vec![Some("x".to_owned()), None, Some("y".to_owned())];
        let parts: Vec<_> = conninfo.apart().iter().map(Conninfo::driver_options).collect();
        assert_eq!(
            parts,
            [
                "host='a' password='x' port='1' user='u' ",
                "host='b' port='2' user='u' ",
                "host='/c' password='y' port='3' user='u' ",
            ]
        );
        for (dsn, parts) in [
            ("host=a,b,c port=1", 3),
            ("host=a,b,c hostaddr=::1,::2,::3", 3),
            ("hostaddr=::1,::2,::3", 3),
            ("host=a,b,c password=given", 1),
            ("host=a,b,c port=1,2", 1),
            ("host=a,b,c hostaddr=::1", 1),
        ] {
            let mut other = Conninfo::parse(dsn).unwrap();
            other.passwords.clone_from(&conninfo.passwords);
            assert_eq!(other.apart().len(), parts, "{dsn}");
        }
    }

    #[test]
    fn driver_string_keeps_odd_characters() {
        let conninfo = Conninfo::parse(r"dbname='it\'s \\ me' sslmode=verify-full").unwrap();
        assert_eq!(conninfo.driver_options(), r"dbname='it\'s \\ me' ");
    }
}
