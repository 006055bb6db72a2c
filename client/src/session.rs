//! A connection that can be made anew, and what its server can do.

use std::fmt;

use pgq_connect::Cancel;
use postgres::Client;
use postgres::error::SqlState;

use crate::connector::Connector;
use crate::error::Error;
use crate::features::{Features, require_pgq};

/// One connection at a time to one place.
pub(crate) struct Session {
    connector: Connector,
    open: Option<(Client, Features)>,
    needs_pgq: bool,
    connections: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Session").field(&self.connector.label()).finish()
    }
}

impl Session {
    /// A session to a database that must have PgQ.
    pub(crate) fn to_queue(connector: Connector) -> Self {
        Self { connector, open: None, needs_pgq: true, connections: 0 }
    }

    /// A session to any database.
    pub(crate) fn to_target(connector: Connector) -> Self {
        Self { connector, open: None, needs_pgq: false, connections: 0 }
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// How many connections there were: what was set in one is not set in the next.
    pub(crate) fn connections(&self) -> u64 {
        self.connections
    }

    /// What stops a statement of the open connection, where that can do no harm.
    pub(crate) fn cancel(&self) -> Option<Cancel> {
        self.open.as_ref().and_then(|(client, _)| self.connector.cancel(client))
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
            self.connections += 1;
        }
        match &mut self.open {
            Some((client, features)) => Ok((client, features)),
            None => Err(Error::Lost("no connection".to_owned())),
        }
    }

    /// Whether the server is a standby, and whether the session may only read; None when the server
    /// does not say.
    fn restriction(&mut self) -> Option<(bool, bool)> {
        let (client, _) = self.open.as_mut()?;
        let sql = "select pg_catalog.pg_is_in_recovery(), \
                   pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool";
        let row = client.query_typed_one(sql, &[]).ok()?;
        Some((row.try_get(0).ok()?, row.try_get(1).ok()?))
    }

    /// Close; the next [`Session::get`] connects again.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }
}

/// The error, or, when a session that may only read was the reason and none of the servers is a
/// standby, that: to look for another server would not help.
pub(crate) fn explain<const N: usize>(error: Error, sessions: [Option<&mut Session>; N]) -> Error {
    if error.sqlstate() != Some(SqlState::READ_ONLY_SQL_TRANSACTION.code()) {
        return error;
    }
    let found: Option<Vec<_>> = sessions.into_iter().flatten().map(Session::restriction).collect();
    let by_choice = found.is_some_and(|found| {
        found.iter().all(|(standby, _)| !standby) && found.iter().any(|(_, read_only)| *read_only)
    });
    if by_choice { Error::ReadOnly(Box::new(error)) } else { error }
}
