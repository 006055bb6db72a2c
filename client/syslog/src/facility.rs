//! What kind of program messages are from.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Facility of messages. Its name is written in small letters, as in syslog.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Facility(u8);

/// All of them, and their numbers.
const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
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
    /// System daemons without a facility of their own.
    pub const DAEMON: Self = Self(3);

    /// Its number.
    pub(crate) fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for Facility {
    type Err = UnknownFacility;

    fn from_str(text: &str) -> Result<Self, UnknownFacility> {
        let found = FACILITIES.iter().find(|(name, _)| *name == text);
        found.map(|(_, number)| Self(*number)).ok_or_else(|| UnknownFacility(text.to_owned()))
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
        assert_eq!("daemon".parse(), Ok(Facility::DAEMON));
        assert_eq!("local7".parse::<Facility>().unwrap().number(), 23);
        let error = "kitchen".parse::<Facility>().unwrap_err().to_string();
        assert!(
            error.starts_with("syslog has no facility \"kitchen\"; there are kern, "),
            "{error}"
        );
    }
}
