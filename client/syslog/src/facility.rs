//! What kind of program messages are from.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Facility of messages, with its number. Its name is written in small letters, as in syslog.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
#[repr(u8)]
pub enum Facility {
    /// The kernel.
    Kern = 0,
    /// Programs of users.
    User = 1,
    /// Mail.
    Mail = 2,
    /// System daemons without a facility of their own.
    Daemon = 3,
    /// Security and authorization.
    Auth = 4,
    /// The syslog daemon itself.
    Syslog = 5,
    /// Printers.
    Lpr = 6,
    /// Network news.
    News = 7,
    /// UUCP.
    Uucp = 8,
    /// Clocks that start programs.
    Cron = 9,
    /// Security and authorization, not for everybody's eyes.
    Authpriv = 10,
    /// File transfer.
    Ftp = 11,
    /// For the site to use.
    Local0 = 16,
    /// For the site to use.
    Local1 = 17,
    /// For the site to use.
    Local2 = 18,
    /// For the site to use.
    Local3 = 19,
    /// For the site to use.
    Local4 = 20,
    /// For the site to use.
    Local5 = 21,
    /// For the site to use.
    Local6 = 22,
    /// For the site to use.
    Local7 = 23,
}

/// All of them by name.
const FACILITIES: [(&str, Facility); 20] = [
    ("kern", Facility::Kern),
    ("user", Facility::User),
    ("mail", Facility::Mail),
    ("daemon", Facility::Daemon),
    ("auth", Facility::Auth),
    ("syslog", Facility::Syslog),
    ("lpr", Facility::Lpr),
    ("news", Facility::News),
    ("uucp", Facility::Uucp),
    ("cron", Facility::Cron),
    ("authpriv", Facility::Authpriv),
    ("ftp", Facility::Ftp),
    ("local0", Facility::Local0),
    ("local1", Facility::Local1),
    ("local2", Facility::Local2),
    ("local3", Facility::Local3),
    ("local4", Facility::Local4),
    ("local5", Facility::Local5),
    ("local6", Facility::Local6),
    ("local7", Facility::Local7),
];

/// There is no facility of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFacility(String);

impl fmt::Display for UnknownFacility {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = FACILITIES.map(|(name, _)| name).join(", ");
        write!(formatter, "syslog has no facility \"{}\"; there are {names}", self.0)
    }
}

impl std::error::Error for UnknownFacility {}

impl Facility {
    /// Its number.
    #[expect(clippy::as_conversions, reason = "the number of a variant, which has this type")]
    pub(crate) fn number(self) -> u8 {
        self as u8
    }
}

impl FromStr for Facility {
    type Err = UnknownFacility;

    fn from_str(text: &str) -> Result<Self, UnknownFacility> {
        let found = FACILITIES.iter().find(|(name, _)| *name == text);
        found.map(|(_, facility)| *facility).ok_or_else(|| UnknownFacility(text.to_owned()))
    }
}

impl TryFrom<String> for Facility {
    type Error = UnknownFacility;

    fn try_from(text: String) -> Result<Self, UnknownFacility> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::Facility;

    #[test]
    fn facilities_are_known_by_name() {
        assert_eq!("daemon".parse(), Ok(Facility::Daemon));
        assert_eq!("local7".parse::<Facility>().unwrap().number(), 23);
        let error = "kitchen".parse::<Facility>().unwrap_err().to_string();
        assert!(
            error.starts_with("syslog has no facility \"kitchen\"; there are kern, "),
            "{error}"
        );
    }
}
