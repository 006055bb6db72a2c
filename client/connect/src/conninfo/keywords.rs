//! Every option of libpq (PostgreSQL 18), the variable that stands for it, and what it is to us. An
//! option that could make a connection safer is honoured or refused, never ignored.

use super::Conninfo;
use crate::error::Error;

/// What is done with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// The driver honours it, under this name.
    Driver(&'static str),
    /// It is interpreted here.
    Own,
    /// It changes nothing that we do, and leaves nothing out that somebody may rely on.
    Harmless,
    /// Only these values, which ask for nothing that we do not do. Compared without case.
    Only(&'static [&'static str]),
    /// We cannot do what it asks for.
    Refused,
}

use Treatment::{Driver, Harmless, Only, Own, Refused};

/// Option, variable (empty: none), treatment.
pub(super) const KEYWORDS: [(&str, &str, Treatment); 53] = [
    ("service", "PGSERVICE", Own),
    ("servicefile", "PGSERVICEFILE", Own),
    ("user", "PGUSER", Driver("user")),
    ("password", "PGPASSWORD", Driver("password")),
    ("passfile", "PGPASSFILE", Own),
    ("channel_binding", "PGCHANNELBINDING", Driver("channel_binding")),
    ("connect_timeout", "PGCONNECT_TIMEOUT", Driver("connect_timeout")),
    ("dbname", "PGDATABASE", Driver("dbname")),
    ("host", "PGHOST", Driver("host")),
    ("hostaddr", "PGHOSTADDR", Driver("hostaddr")),
    ("port", "PGPORT", Driver("port")),
    // The driver always speaks UTF8.
    ("client_encoding", "PGCLIENTENCODING", Harmless),
    ("options", "PGOPTIONS", Driver("options")),
    ("application_name", "PGAPPNAME", Driver("application_name")),
    ("fallback_application_name", "", Own),
    ("keepalives", "", Driver("keepalives")),
    ("keepalives_idle", "", Driver("keepalives_idle")),
    ("keepalives_interval", "", Driver("keepalives_interval")),
    ("keepalives_count", "", Driver("keepalives_retries")),
    ("tcp_user_timeout", "", Driver("tcp_user_timeout")),
    ("sslmode", "PGSSLMODE", Own),
    ("sslnegotiation", "PGSSLNEGOTIATION", Driver("sslnegotiation")),
    // Never done, as in libpq.
    ("sslcompression", "PGSSLCOMPRESSION", Harmless),
    ("sslcert", "PGSSLCERT", Own),
    ("sslkey", "PGSSLKEY", Own),
    ("sslcertmode", "PGSSLCERTMODE", Own),
    ("sslpassword", "", Own),
    ("sslrootcert", "PGSSLROOTCERT", Own),
    ("sslcrl", "PGSSLCRL", Refused),
    ("sslcrldir", "PGSSLCRLDIR", Refused),
    ("sslsni", "PGSSLSNI", Own),
    ("sslkeylogfile", "", Refused),
    ("requirepeer", "PGREQUIREPEER", Own),
    ("require_auth", "PGREQUIREAUTH", Refused),
    ("min_protocol_version", "PGMINPROTOCOLVERSION", Only(&["3.0"])),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION", Only(&["3.0", "3.2", "latest"])),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Own),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Own),
    // GSSAPI is not spoken: nothing is encrypted or delegated by it.
    ("gssencmode", "PGGSSENCMODE", Only(&["disable", "prefer"])),
    ("krbsrvname", "PGKRBSRVNAME", Harmless),
    ("gsslib", "PGGSSLIB", Harmless),
    ("gssdelegation", "PGGSSDELEGATION", Only(&["0"])),
    ("replication", "", Only(&["false", "off", "no", "0"])),
    ("target_session_attrs", "PGTARGETSESSIONATTRS", Own),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS", Driver("load_balance_hosts")),
    ("scram_client_key", "", Refused),
    ("scram_server_key", "", Refused),
    ("oauth_issuer", "", Refused),
    ("oauth_client_id", "", Refused),
    ("oauth_client_secret", "", Refused),
    ("oauth_scope", "", Refused),
    // The driver's own name of keepalives_count, which earlier versions took.
    ("keepalives_retries", "", Driver("keepalives_retries")),
    // Of libpq before 14, where they did nothing any more.
    ("tty", "PGTTY", Harmless),
];

/// Options whose empty value is none of libpq's: it is not a way to leave them out.
pub(super) const NEVER_EMPTY: [&str; 6] = [
    "channel_binding",
    "gssencmode",
    "sslcertmode",
    "sslmode",
    "sslnegotiation",
    "target_session_attrs",
];

/// The treatment of an option; none when libpq does not know it either.
pub(super) fn treatment(key: &str) -> Option<Treatment> {
    KEYWORDS.iter().find(|(own, ..)| *own == key).map(|(.., treatment)| *treatment)
}

/// Refuse what cannot be honoured, wherever the options came from.
pub(super) fn check(conninfo: &Conninfo) -> Result<(), Error> {
    for (key, value) in &conninfo.options {
        let Some(treatment) = treatment(key) else {
            return Err(Error::Config(format!("unknown connection option \"{key}\"")));
        };
        let value = value.trim();
        match treatment {
            _ if value.is_empty() && NEVER_EMPTY.contains(&key.as_str()) => {
                return Err(Error::Config(format!("connection option \"{key}\" is empty")));
            }
            _ if value.is_empty() => {}
            Refused => {
                return Err(Error::Config(format!("connection option \"{key}\" is not supported")));
            }
            Only(values) if !values.iter().any(|own| own.eq_ignore_ascii_case(value)) => {
                return Err(Error::Config(format!(
                    "connection option \"{key}\" cannot be \"{value}\" here: only {}",
                    values.join(", ")
                )));
            }
            _ => {}
        }
    }
    check_value(
        conninfo,
        "target_session_attrs",
        &["any", "read-write", "read-only", "primary", "standby", "prefer-standby"],
    )?;
    // "require" asks for proof that the server wanted the certificate, which OpenSSL's callbacks
    // here do not give.
    check_value(conninfo, "sslcertmode", &["disable", "allow"])?;
    check_value(conninfo, "sslsni", &["0", "1"])?;
    check_peer(conninfo)
}

fn check_value(conninfo: &Conninfo, key: &str, values: &[&str]) -> Result<(), Error> {
    match conninfo.get(key) {
        Some(value) if !values.contains(&value) => Err(Error::Config(format!(
            "connection option \"{key}\" cannot be \"{value}\" here: only {}",
            values.join(", ")
        ))),
        _ => Ok(()),
    }
}

/// `requirepeer` is about sockets in the file system. The driver opens them itself and cannot be
/// asked who is at the other end of this very one, so it is refused there; over TCP it means
/// nothing, as in libpq.
fn check_peer(conninfo: &Conninfo) -> Result<(), Error> {
    let Some(peer) = conninfo.get("requirepeer") else { return Ok(()) };
    let hosts = conninfo.get("hostaddr").or_else(|| conninfo.get("host")).unwrap_or("");
    if hosts.split(',').all(|host| !host.is_empty() && !host.starts_with(['/', '@'])) {
        return Ok(());
    }
    Err(Error::Config(format!(
        "connection option \"requirepeer\" cannot be \"{peer}\" here: who serves a socket in the file system is not checked; \
         connect by TCP with sslmode=verify-full"
    )))
}

#[cfg(test)]
mod tests {
    use super::{Conninfo, KEYWORDS, Treatment, check};

    /// A value for each option that asks for something, and whether it may be had. All options of
    /// PostgreSQL 18 are here.
    const ASKED: [(&str, &str, bool); 51] = [
        ("service", "s", true),
        ("servicefile", "/f", true),
        ("user", "u", true),
        ("password", "p", true),
        ("passfile", "/f", true),
        ("channel_binding", "require", true),
        ("connect_timeout", "3", true),
        ("dbname", "d", true),
        ("host", "h", true),
        ("hostaddr", "127.0.0.1", true),
        ("port", "5", true),
        ("client_encoding", "latin1", true),
        ("options", "-c x=1", true),
        ("application_name", "a", true),
        ("fallback_application_name", "a", true),
        ("keepalives", "1", true),
        ("keepalives_idle", "1", true),
        ("keepalives_interval", "1", true),
        ("keepalives_count", "1", true),
        ("tcp_user_timeout", "1", true),
        ("sslmode", "verify-full", true),
        ("sslnegotiation", "direct", true),
        ("sslcompression", "1", true),
        ("sslcert", "/f", true),
        ("sslkey", "/f", true),
        ("sslcertmode", "require", false),
        ("sslpassword", "p", true),
        ("sslrootcert", "/f", true),
        ("sslcrl", "/f", false),
        ("sslcrldir", "/f", false),
        ("sslsni", "0", true),
        ("sslkeylogfile", "/f", false),
        ("requirepeer", "postgres", false),
        ("require_auth", "scram-sha-256", false),
        ("min_protocol_version", "3.2", false),
        ("max_protocol_version", "3.2", true),
        ("ssl_min_protocol_version", "TLSv1.3", true),
        ("ssl_max_protocol_version", "TLSv1.3", true),
        ("gssencmode", "require", false),
        ("krbsrvname", "x", true),
        ("gsslib", "gssapi", true),
        ("gssdelegation", "1", false),
        ("replication", "database", false),
        ("target_session_attrs", "standby", true),
        ("load_balance_hosts", "random", true),
        ("scram_client_key", "k", false),
        ("scram_server_key", "k", false),
        ("oauth_issuer", "i", false),
        ("oauth_client_id", "i", false),
        ("oauth_client_secret", "i", false),
        ("oauth_scope", "s", false),
    ];

    #[test]
    fn every_option_is_honoured_harmless_or_refused() {
        for (key, value, allowed) in ASKED {
            let mut conninfo = Conninfo::default();
            conninfo.set(key, value);
            let error = check(&conninfo).err().map(|error| error.to_string());
            assert_eq!(error.is_none(), allowed, "{key}={value}: {error:?}");
            assert!(error.is_none_or(|error| error.contains(key)), "{key}");
        }
        for (key, ..) in KEYWORDS {
            let known = ASKED.iter().any(|(own, ..)| *own == key);
            assert!(known || ["keepalives_retries", "tty"].contains(&key), "{key} is not tried");
        }
    }

    #[test]
    fn defaults_of_libpq_are_not_refused() {
        for (key, value) in [
            ("gssencmode", "prefer"),
            ("gssencmode", "disable"),
            ("gssdelegation", "0"),
            ("sslcertmode", "allow"),
            ("sslcrl", ""),
            ("require_auth", ""),
            ("target_session_attrs", "any"),
            ("min_protocol_version", "3.0"),
            ("replication", "false"),
        ] {
            let mut conninfo = Conninfo::default();
            conninfo.set(key, value);
            check(&conninfo).unwrap();
        }
    }

    #[test]
    fn an_empty_mode_does_not_hide_the_one_of_the_environment() {
        for key in super::NEVER_EMPTY {
            let mut conninfo = Conninfo::default();
            conninfo.set(key, "");
            let error = check(&conninfo).unwrap_err().to_string();
            assert_eq!(error, format!("connection option \"{key}\" is empty"));
        }
    }

    #[test]
    fn the_peer_of_a_socket_is_not_taken_on_trust() {
        for (hosts, allowed) in
            [("/tmp", false), ("@pg", false), ("a,/tmp", false), ("a,", false), ("a,b", true)]
        {
            let mut conninfo = Conninfo::default();
            conninfo.set("host", hosts);
            conninfo.set("requirepeer", "postgres");
            assert_eq!(check(&conninfo).is_ok(), allowed, "{hosts}");
        }
    }

    #[test]
    fn what_goes_to_the_driver_is_known_to_it() {
        for (_, _, treatment) in KEYWORDS {
            if let Treatment::Driver(name) = treatment {
                let value = match name {
                    "channel_binding" => "prefer",
                    "load_balance_hosts" => "random",
                    "sslnegotiation" => "direct",
                    "hostaddr" => "127.0.0.1",
                    _ => "1",
                };
                let parsed = format!("{name}={value}").parse::<postgres::Config>();
                assert!(parsed.is_ok(), "{name}: {parsed:?}");
            }
        }
    }
}
