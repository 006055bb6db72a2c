//! `syslog_facility` of `pgqd.ini`.

/// The facilities of syslog that pgqd knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogFacility {
    /// `auth`.
    Auth,
    /// `authpriv`.
    Authpriv,
    /// `daemon`.
    Daemon,
    /// `user`.
    User,
    /// `local0`.
    Local0,
    /// `local1`.
    Local1,
    /// `local2`.
    Local2,
    /// `local3`.
    Local3,
    /// `local4`.
    Local4,
    /// `local5`.
    Local5,
    /// `local6`.
    Local6,
    /// `local7`.
    Local7,
}

impl SyslogFacility {
    /// All of them by name.
    pub const NAMES: [(&'static str, Self); 12] = [
        ("auth", Self::Auth),
        ("authpriv", Self::Authpriv),
        ("daemon", Self::Daemon),
        ("user", Self::User),
        ("local0", Self::Local0),
        ("local1", Self::Local1),
        ("local2", Self::Local2),
        ("local3", Self::Local3),
        ("local4", Self::Local4),
        ("local5", Self::Local5),
        ("local6", Self::Local6),
        ("local7", Self::Local7),
    ];

    /// The one of a name, in small letters.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(own, _)| *own == name).map(|(_, facility)| *facility)
    }
}
