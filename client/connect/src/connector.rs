//! Make connections to one place, again and again.

use std::fmt;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use postgres::config::{Host, LoadBalanceHosts, SslMode, SslNegotiation};
use postgres::error::DbError;
use postgres::{CancelToken, Client};
use tokio_postgres::{AsyncMessage, Config};

use crate::conninfo::Conninfo;
use crate::conninfo::encryption::{Encryption, Sslmode};
use crate::error::{Error, with_causes};
use crate::pooler;
use crate::redact::redact;
use crate::transport::{Rules, Tls, Transport};

/// Where to connect: one server or several (`host=a,b target_session_attrs=read-write` finds the
/// primary after a failover).
#[derive(Clone)]
pub struct Connector {
    /// At least one: of all hosts, or of each where they have passwords of their own.
    configs: Vec<Config>,
    transport: Transport,
    label: String,
    /// Hears the server's notices.
    hear: Option<Arc<dyn Fn(DbError) + Send + Sync>>,
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

/// What stops a statement of an open connection, without holding up the thread.
#[derive(Clone)]
pub struct AsyncCancel {
    token: tokio_postgres::CancelToken,
    transport: Transport,
}

impl AsyncCancel {
    /// As [`Cancel::send`].
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn send(&self) -> Result<(), postgres::Error> {
        self.token.cancel_query(self.transport.until_taken()).await
    }
}

/// A connection that moves while this is awaited.
pub type Moves = Pin<Box<dyn Future<Output = Result<(), postgres::Error>> + Send>>;

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Connector").field(&self.label).finish()
    }
}

impl Connector {
    /// A connection string that has been parsed, and what encrypts its connections, if anything
    /// does. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Config`] for an option that cannot be honoured, such as one that demands encryption
    /// where nothing does it.
    pub fn new(conninfo: &Conninfo, tls: Option<Arc<dyn Tls>>) -> Result<Self, Error> {
        conninfo.check()?;
        let (mode, encryption) = (conninfo.sslmode()?, conninfo.encryption()?);
        // As in libpq, where sslmode is not about socket files.
        let tls = tls.filter(|_| encryption != Encryption::Never);
        if tls.is_none() && encryption == Encryption::Demanded {
            return Err(Error::Config(not_to_be_had(conninfo)));
        }
        let by_driver = uses_socket_files(&conninfo.for_driver()?);
        let configure = |part: &Conninfo| -> Result<Config, Error> {
            let mut config = part.for_driver()?;
            if config.get_hosts().is_empty() {
                // The driver hands nothing over for an address without a name.
                let addresses = config.get_hostaddrs().to_vec();
                for address in addresses {
                    config.host(address.to_string());
                }
            }
            if !by_driver {
                config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
            } else {
                // There the driver takes over no TLS.
                config.ssl_mode(match &tls {
                    None => SslMode::Disable,
                    Some(_) if mode.demands() => SslMode::Require,
                    Some(_) => SslMode::Prefer,
                });
            }
            Ok(config)
        };
        let configs = conninfo.apart().iter().map(configure).collect::<Result<Vec<_>, Error>>()?;
        let at_once = conninfo.get("sslnegotiation") == Some("direct");
        let transport =
            Transport::new(tls, Rules { demanded: mode.demands(), at_once, agreed: by_driver });
        let is_named = configs.iter().any(|config| config.get_application_name().is_some());
        let label = conninfo.label();
        Ok(Self { configs, transport, label, hear: None, is_named, pooled: Arc::default() })
    }

    /// Set `application_name`, which `pg_stat_activity` shows, unless the connection string did.
    pub fn application_name(mut self, name: &str) -> Self {
        for config in self.configs.iter_mut().filter(|_| !self.is_named) {
            config.application_name(name);
        }
        self
    }

    /// What hears the server's notices.
    pub fn on_notice(mut self, hear: impl Fn(DbError) + Send + Sync + 'static) -> Self {
        self.hear = Some(Arc::new(hear));
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
        let mut failed = None;
        for config in self.in_order() {
            let mut config = postgres::Config::from(config.clone());
            if let Some(hear) = self.hear.clone() {
                config.notice_callback(move |notice| hear(notice));
            }
            match config.connect(self.transport.clone()) {
                Ok(client) => return Ok(client),
                Err(error) => failed = Some(error),
            }
        }
        Err(self.refusal(&failed.expect("there is at least one")))
    }

    /// Connect without holding up the thread. Nothing moves unless the second future is awaited
    /// beside what is done with the client, by a task of its own; it ends with the connection.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub async fn connect_async(&self) -> Result<(tokio_postgres::Client, Moves), Error> {
        let mut failed = None;
        for config in self.in_order() {
            match config.connect(self.transport.clone()).await {
                Ok((client, mut connection)) => {
                    let hear = self.hear.clone();
                    let moves = async move {
                        while let Some(message) =
                            poll_fn(|context| connection.poll_message(context)).await
                        {
                            if let (AsyncMessage::Notice(notice), Some(hear)) = (message?, &hear) {
                                hear(notice);
                            }
                        }
                        Ok(())
                    };
                    return Ok((client, Box::pin(moves)));
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(self.refusal(&failed.expect("there is at least one")))
    }

    /// The places in the order in which they are tried.
    fn in_order(&self) -> Vec<&Config> {
        let mut configs: Vec<&Config> = self.configs.iter().collect();
        if configs.iter().any(|one| one.get_load_balance_hosts() == LoadBalanceHosts::Random) {
            let random = RandomState::new();
            configs.sort_by_cached_key(|one| random.hash_one(format!("{:?}", one.get_hosts())));
        }
        configs
    }

    fn refusal(&self, error: &postgres::Error) -> Error {
        let (reason, sqlstate) = match error.as_db_error() {
            Some(server) => (server.message().to_owned(), Some(server.code().clone())),
            None => (with_causes(error), None),
        };
        Error::Connect { to: self.label.clone(), reason: redact(&reason), sqlstate }
    }

    /// What stops a statement of this client's; none where a cancel request could do harm: the
    /// driver closes its connection too early on a socket file, and only PostgreSQL itself is known
    /// to bear that.
    pub fn cancel(&self, client: &Client) -> Option<Cancel> {
        (!self.is_pooled())
            .then(|| Cancel { token: client.cancel_token(), transport: self.transport.clone() })
    }

    /// The same for a client that was made by [`Connector::connect_async`].
    pub fn cancel_async(&self, client: &tokio_postgres::Client) -> Option<AsyncCancel> {
        (!self.is_pooled()).then(|| AsyncCancel {
            token: client.cancel_token(),
            transport: self.transport.clone(),
        })
    }

    fn is_pooled(&self) -> bool {
        let is_pooled = |config: &Config| uses_socket_files(config) && pooler::is_behind(config);
        *self.pooled.get_or_init(|| self.configs.iter().any(is_pooled))
    }
}

/// That what is demanded cannot be.
fn not_to_be_had(conninfo: &Conninfo) -> String {
    let by_mode = conninfo.sslmode().is_ok_and(Sslmode::demands);
    let option = if by_mode { "sslmode" } else { "channel_binding" };
    let value = conninfo.get(option).unwrap_or("verify-full");
    format!("{option} \"{value}\" asks for TLS, which this program does not speak")
}

fn uses_socket_files(config: &Config) -> bool {
    config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)))
}

#[cfg(test)]
mod tests {
    use super::Connector;
    use crate::conninfo::Conninfo;

    #[test]
    fn what_has_to_be_encrypted_is_refused_where_nothing_does_it() {
        let made = |dsn: &str| {
            Connector::new(&Conninfo::parse(dsn).unwrap(), None).map_err(|error| error.to_string())
        };
        for dsn in ["host=h", "host=h sslmode=disable", "host=/tmp sslmode=verify-full"] {
            made(dsn).unwrap();
        }
        for (dsn, option) in [
            ("host=h sslmode=require", "sslmode \"require\""),
            ("host=/tmp,h sslmode=verify-ca", "sslmode \"verify-ca\""),
            ("hostaddr=::1 sslmode=verify-full", "sslmode \"verify-full\""),
            ("host=h sslrootcert=system", "sslmode \"verify-full\""),
            ("host=h channel_binding=require", "channel_binding \"require\""),
        ] {
            let error = made(dsn).unwrap_err();
            assert!(error.starts_with(option) && error.contains("TLS"), "{dsn}: {error}");
        }
    }
}
