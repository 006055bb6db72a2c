//! Make connections to one place, again and again.

use pgq_connect::{Cancel, Conninfo};
use postgres::Client;

use crate::error::Error;
use crate::notices::Notices;

/// Where to connect: one server or several (`host=a,b target_session_attrs=read-write` finds the
/// primary after a failover).
#[derive(Clone, Debug)]
pub struct Connector {
    place: pgq_connect::Connector,
    /// What it was made of, with passwords.
    from: Conninfo,
    notices: Notices,
}

impl Connector {
    /// A connection string in libpq's syntax, completed from `PG*` variables, service file and
    /// password file.
    ///
    /// # Errors
    /// [`Error::Config`] for a string, mode or certificate that cannot be used. Nothing is
    /// connected yet.
    pub fn new(dsn: &str) -> Result<Self, Error> {
        Self::from_conninfo(&Conninfo::with_environment(dsn)?)
    }

    /// A connection string that has been parsed.
    ///
    /// # Errors
    /// As [`Connector::new`].
    pub fn from_conninfo(conninfo: &Conninfo) -> Result<Self, Error> {
        let notices = Notices::default();
        let heard = notices.clone();
        let place = pgq_tls::connector(conninfo)?
            .application_name("pgq")
            .on_notice(move |notice| heard.hear(&notice));
        Ok(Self { place, from: conninfo.clone(), notices })
    }

    /// Do both lead to the same place, in the same way?
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.from == other.from
    }

    /// Set `application_name`, which `pg_stat_activity` shows, unless the connection string did.
    pub fn application_name(mut self, name: &str) -> Self {
        self.place = self.place.application_name(name);
        self
    }

    /// Hosts, database and user, for messages.
    pub fn label(&self) -> &str {
        self.place.label()
    }

    /// Connect.
    ///
    /// # Errors
    /// [`Error::Connect`]; [`Error::is_transient`] tells a refused password from a server that is
    /// not up yet.
    pub fn connect(&self) -> Result<Client, Error> {
        Ok(self.place.connect()?)
    }

    /// What stops a statement of this client's, where that can do no harm.
    pub(crate) fn cancel(&self, client: &Client) -> Option<Cancel> {
        self.place.cancel(client)
    }

    /// Connect without holding up the thread: see [`pgq_connect::Connector::connect_async`].
    #[cfg(feature = "tokio")]
    pub(crate) async fn connect_async(
        &self,
    ) -> Result<(tokio_postgres::Client, pgq_connect::Moves), Error> {
        Ok(self.place.connect_async().await?)
    }

    /// As [`Connector::cancel`].
    #[cfg(feature = "tokio")]
    pub(crate) fn cancel_async(
        &self,
        client: &tokio_postgres::Client,
    ) -> Option<pgq_connect::AsyncCancel> {
        self.place.cancel_async(client)
    }

    pub(crate) fn notices(&self) -> &Notices {
        &self.notices
    }
}
