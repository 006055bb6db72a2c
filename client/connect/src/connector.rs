//! Make connections to one place, again and again.

use std::fmt;
use std::sync::{Arc, OnceLock};

use postgres::config::{Host, SslMode, SslNegotiation};
use postgres::error::DbError;
use postgres::{CancelToken, Client, Config};

use crate::conninfo::Conninfo;
use crate::error::{Error, with_causes};
use crate::redact::redact;
use crate::transport::Transport;
use crate::{pooler, tls};

/// Where to connect: one server or several (`host=a,b target_session_attrs=read-write` finds the
/// primary after a failover).
#[derive(Clone)]
pub struct Connector {
    config: Config,
    transport: Transport,
    label: String,
    /// The connection string has an `application_name`.
    is_named: bool,
    /// A socket file of this machine that leads to something else than PostgreSQL; looked at once.
    pooled: Arc<OnceLock<bool>>,
}

/// What stops a statement of an open connection.
#[derive(Clone)]
pub struct Cancel {
    token: CancelToken,
    transport: Transport,
}

impl Cancel {
    /// Ask the server to stop the statement, and wait until it has taken that.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn send(&self) -> Result<(), postgres::Error> {
        self.transport.cancel(&self.token)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Connector").field(&self.label).finish()
    }
}

impl Connector {
    /// A connection string that has been parsed. Certificates are read now; nothing is connected
    /// yet.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::Io`] for a mode or a certificate that cannot be used.
    pub fn new(conninfo: &Conninfo) -> Result<Self, Error> {
        conninfo.check()?;
        let mut config: Config = conninfo
            .for_driver()
            .parse()
            .map_err(|error: postgres::Error| Error::Config(redact(&with_causes(&error))))?;
        let (tls, mode) = tls::connector(conninfo)?;
        if config.get_hosts().is_empty() {
            // The driver hands nothing over for an address without a name.
            let addresses = config.get_hostaddrs().to_vec();
            for address in addresses {
                config.host(&address.to_string());
            }
        }
        let by_driver = uses_socket_files(&config);
        let transport = Transport::new(tls, mode, config.get_ssl_negotiation(), by_driver);
        let only_files = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        if by_driver && only_files && config.get_hostaddrs().is_empty() {
            // As in libpq, where sslmode is not about socket files.
            config.ssl_mode(SslMode::Disable);
        } else if by_driver {
            // There the driver takes over no TLS.
            config.ssl_mode(mode);
        } else {
            config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        }
        let is_named = config.get_application_name().is_some();
        Ok(Self { config, transport, label: conninfo.label(), is_named, pooled: Arc::default() })
    }

    /// Set `application_name`, which `pg_stat_activity` shows, unless the connection string did.
    pub fn application_name(mut self, name: &str) -> Self {
        if !self.is_named {
            self.config.application_name(name);
        }
        self
    }

    /// What hears the server's notices.
    pub fn on_notice(mut self, hear: impl Fn(DbError) + Send + Sync + 'static) -> Self {
        self.config.notice_callback(hear);
        self
    }

    /// Hosts, database and user, for messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Connect.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub fn connect(&self) -> Result<Client, Error> {
        self.config.connect(self.transport.clone()).map_err(|error| {
            let (reason, sqlstate) = match error.as_db_error() {
                Some(server) => (server.message().to_owned(), Some(server.code().clone())),
                None => (with_causes(&error), None),
            };
            Error::Connect { to: self.label.clone(), reason: redact(&reason), sqlstate }
        })
    }

    /// What stops a statement of this client's; none where a cancel request could do harm: the
    /// driver closes its connection too early on a socket file, and only PostgreSQL itself is known
    /// to bear that.
    pub fn cancel(&self, client: &Client) -> Option<Cancel> {
        let pooled = self
            .pooled
            .get_or_init(|| uses_socket_files(&self.config) && pooler::is_behind(&self.config));
        (!pooled)
            .then(|| Cancel { token: client.cancel_token(), transport: self.transport.clone() })
    }
}

fn uses_socket_files(config: &Config) -> bool {
    config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)))
}
