//! Make connections to one place, again and again.

use std::fmt;

use postgres::error::DbError;
use postgres::{Client, Config};
use postgres_openssl::MakeTlsConnector;

use crate::conninfo::Conninfo;
use crate::error::{Error, ServerError, with_causes};
use crate::redact::redact;
use crate::tls;

/// Where to connect: one server or several (`host=a,b target_session_attrs=read-write` finds the primary after a failover).
#[derive(Clone)]
pub struct Connector {
    config: Config,
    tls: MakeTlsConnector,
    label: String,
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Connector").field(&self.label).finish()
    }
}

impl Connector {
    /// A connection string in libpq's syntax, completed from `PG*` variables, service file and password file.
    ///
    /// # Errors
    /// [`Error::Config`] for a string, mode or certificate that cannot be used. Nothing is connected yet.
    pub fn new(dsn: &str) -> Result<Self, Error> {
        Self::from_conninfo(&Conninfo::with_environment(dsn)?)
    }

    /// A connection string that has been parsed.
    ///
    /// # Errors
    /// As [`Connector::new`].
    pub fn from_conninfo(conninfo: &Conninfo) -> Result<Self, Error> {
        conninfo.check()?;
        let mut config: Config = conninfo
            .for_driver()
            .parse()
            .map_err(|error: postgres::Error| Error::Config(redact(&with_causes(&error))))?;
        let (tls, mode) = tls::connector(conninfo)?;
        config.ssl_mode(mode);
        if config.get_application_name().is_none() {
            config.application_name("pgq");
        }
        config.notice_callback(log_notice);
        Ok(Self { config, tls, label: conninfo.label() })
    }

    /// Set `application_name`, which `pg_stat_activity` shows, unless the connection string did.
    pub fn application_name(mut self, name: &str) -> Self {
        if self.config.get_application_name() == Some("pgq") {
            self.config.application_name(name);
        }
        self
    }

    /// Hosts, database and user, for messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Connect.
    ///
    /// # Errors
    /// [`Error::Connect`]; [`Error::is_transient`] tells a refused password from a server that is not up yet.
    pub fn connect(&self) -> Result<Client, Error> {
        self.config.connect(self.tls.clone()).map_err(|error| {
            let (reason, sqlstate) = match error.as_db_error() {
                Some(db_error) => {
                    let server = ServerError::from(db_error);
                    (server.message, Some(server.sqlstate))
                }
                None => (with_causes(&error), None),
            };
            Error::Connect { to: self.label.clone(), reason: redact(&reason), sqlstate }
        })
    }

    /// What a cancel request to the same place needs.
    pub(crate) fn tls(&self) -> MakeTlsConnector {
        self.tls.clone()
    }
}

fn log_notice(notice: DbError) {
    let level = match notice.severity() {
        // The answer says so as well, and becomes Error::BatchGone.
        "WARNING" if notice.message().starts_with("finish_batch: batch") => log::Level::Debug,
        "WARNING" => log::Level::Warn,
        _ => log::Level::Debug,
    };
    log::log!(level, "server: {}", notice.message());
}
