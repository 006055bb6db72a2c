//! What options say of encryption. Who does it is another matter: see [`Tls`](crate::Tls).

use std::str::FromStr;

use postgres::config::{ChannelBinding, Host};
use tokio_postgres::Config;

use super::Conninfo;
use crate::error::Error;

/// libpq's `sslmode`: how much a connection by TCP has to be. Sockets in the file system are never
/// encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sslmode {
    /// Not encrypted.
    Disable,
    /// Treated as [`Sslmode::Prefer`]; libpq would try without encryption first.
    Allow,
    /// Encrypted if the server offers it. The default.
    Prefer,
    /// Encrypted; the server proves itself when there is a root certificate.
    Require,
    /// The server's certificate comes from the root certificate.
    VerifyCa,
    /// And is for the name of the host.
    VerifyFull,
}

/// Whether connections by these options are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encryption {
    /// They are not: `sslmode=disable`, or only sockets in the file system.
    Never,
    /// If the server offers it.
    Offered,
    /// Always, or there is no connection.
    Demanded,
}

impl Sslmode {
    /// True when there is no connection without encryption.
    pub fn demands(self) -> bool {
        self >= Self::Require
    }
}

impl FromStr for Sslmode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            other => return Err(Error::Config(format!("invalid sslmode \"{other}\""))),
        })
    }
}

impl Conninfo {
    /// `sslmode`, or its default: `verify-full` with the system's own roots, else `prefer`.
    ///
    /// # Errors
    /// [`Error::Config`] for one that does not exist, or that is weaker than what another option
    /// asks for: anybody can have a certificate of the system's roots, so `sslrootcert=system` goes
    /// with a full check only; `sslnegotiation=direct` cannot do without encryption.
    pub fn sslmode(&self) -> Result<Sslmode, Error> {
        let weak = |option: &str, instead: &str| {
            let mode = self.get("sslmode").unwrap_or("prefer");
            let text = format!("weak sslmode \"{mode}\" cannot go with {option}: use {instead}");
            Err(Error::Config(text))
        };
        let system_roots = self.get("sslrootcert") == Some("system");
        let mode = match self.get("sslmode") {
            None if system_roots => Sslmode::VerifyFull,
            None => Sslmode::Prefer,
            Some(mode) => mode.parse()?,
        };
        if system_roots && mode != Sslmode::VerifyFull {
            return weak("sslrootcert=system", "verify-full");
        }
        if self.get("sslnegotiation") == Some("direct") && !mode.demands() {
            return weak("sslnegotiation=direct", "require, verify-ca or verify-full");
        }
        Ok(mode)
    }

    /// Whether connections to any of the hosts are encrypted.
    ///
    /// # Errors
    /// As [`Conninfo::sslmode`]; [`Error::Config`] also for what the driver does not understand.
    pub fn encryption(&self) -> Result<Encryption, Error> {
        let (mode, config) = (self.sslmode()?, self.for_driver()?);
        Ok(if mode == Sslmode::Disable || !reaches_network(&config) {
            Encryption::Never
        } else if mode.demands() || config.get_channel_binding() == ChannelBinding::Require {
            Encryption::Demanded
        } else {
            Encryption::Offered
        })
    }
}

/// True unless all hosts are sockets in the file system.
pub(crate) fn reaches_network(config: &Config) -> bool {
    let is_file = |host: &Host| matches!(host, Host::Unix(_));
    !config.get_hostaddrs().is_empty() || !config.get_hosts().iter().all(is_file)
}

#[cfg(test)]
mod tests {
    use super::{Encryption, Sslmode};
    use crate::conninfo::Conninfo;

    fn mode(dsn: &str) -> Result<Sslmode, String> {
        Conninfo::parse(dsn).unwrap().sslmode().map_err(|error| error.to_string())
    }

    #[test]
    fn system_roots_go_with_a_full_check_only() {
        assert_eq!(mode(""), Ok(Sslmode::Prefer));
        assert_eq!(mode("sslrootcert=system"), Ok(Sslmode::VerifyFull));
        assert_eq!(mode("sslrootcert=system sslmode=verify-full"), Ok(Sslmode::VerifyFull));
        for weak in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let error = mode(&format!("sslrootcert=system sslmode={weak}")).unwrap_err();
            assert!(error.contains("use verify-full"), "{error}");
        }
        assert!(mode("sslnegotiation=direct").unwrap_err().contains("weak sslmode"));
        assert!(mode("sslmode=fast").unwrap_err().contains("invalid sslmode"));
    }

    #[test]
    fn encryption_is_about_hosts_that_are_no_files() {
        let of = |dsn: &str| Conninfo::parse(dsn).unwrap().encryption().unwrap();
        for (dsn, expected) in [
            ("host=/tmp", Encryption::Never),
            ("host=/tmp sslmode=verify-full", Encryption::Never),
            ("host=/tmp,/var/run sslmode=require channel_binding=require", Encryption::Never),
            ("host=h sslmode=disable", Encryption::Never),
            ("host=h", Encryption::Offered),
            ("host=h sslmode=allow", Encryption::Offered),
            ("host=/tmp,h", Encryption::Offered),
            ("hostaddr=127.0.0.1", Encryption::Offered),
            ("host=/tmp hostaddr=127.0.0.1", Encryption::Offered),
            ("host=h channel_binding=require", Encryption::Demanded),
            ("host=h sslmode=require", Encryption::Demanded),
            ("host=/tmp,h sslmode=verify-ca", Encryption::Demanded),
            ("hostaddr=::1 sslmode=verify-full", Encryption::Demanded),
            ("postgres://h/db?ssl=true", Encryption::Demanded),
            ("host=h sslrootcert=system", Encryption::Demanded),
        ] {
            assert_eq!(of(dsn), expected, "{dsn}");
        }
    }
}
