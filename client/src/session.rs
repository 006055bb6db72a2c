//! A connection that can be made anew, and what its server can do.

use postgres::Client;

use crate::connector::Connector;
use crate::error::Error;
use crate::features::{Features, require_pgq};

/// One connection at a time to one place.
pub(crate) struct Session {
    connector: Connector,
    open: Option<(Client, Features)>,
    needs_pgq: bool,
}

impl Session {
    /// A session to a database that must have PgQ.
    pub(crate) fn to_queue(connector: Connector) -> Self {
        Self { connector, open: None, needs_pgq: true }
    }

    /// A session to any database.
    pub(crate) fn to_target(connector: Connector) -> Self {
        Self { connector, open: None, needs_pgq: false }
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The connection; made when there is none, or when the old one is closed.
    pub(crate) fn get(&mut self) -> Result<(&mut Client, &Features), Error> {
        if self.open.as_ref().is_none_or(|(client, _)| client.is_closed()) {
            self.open = None;
            let mut client = self.connector.connect()?;
            if self.needs_pgq {
                require_pgq(&mut client, self.connector.label())?;
            }
            let features = Features::detect(&mut client)?;
            self.open = Some((client, features));
        }
        match &mut self.open {
            Some((client, features)) => Ok((client, features)),
            None => Err(Error::Lost("no connection".to_owned())),
        }
    }

    /// Close; the next [`Session::get`] connects again.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }
}
