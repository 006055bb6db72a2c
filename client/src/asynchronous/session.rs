//! A connection that can be made anew, for async functions.

use postgres::Row;
use tokio_postgres::Client;

use crate::connector::Connector;
use crate::error::Error;
use crate::features::{Features, no_pgq};
use crate::subscription::requests::Request;

/// One connection at a time to a database that must have PgQ.
pub(super) struct Session {
    pub(super) connector: Connector,
    open: Option<(Client, Features)>,
}

impl Session {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, open: None }
    }

    /// The connection; made when there is none, or when the old one is closed.
    pub(super) async fn get(&mut self) -> Result<(&mut Client, &Features), Error> {
        if self.open.as_ref().is_none_or(|(client, _)| client.is_closed()) {
            self.open = None;
            let (client, moves) = self.connector.connect_async().await?;
            // Without its client it says goodbye, and ends.
            tokio::spawn(async move {
                // Whoever uses the client hears of it as well.
                if let Err(error) = moves.await {
                    log::debug!("connection ended: {error}");
                }
            });
            let has_pgq = client.query_typed_one(Features::HAS_PGQ, &[]).await?;
            if !has_pgq.try_get::<_, bool>(0)? {
                return Err(no_pgq(self.connector.label()));
            }
            let row = client.query_typed_one(Features::QUESTION, &[]).await?;
            self.open = Some((client, Features::from_row(&row)?));
        }
        match &mut self.open {
            Some((client, features)) => Ok((client, features)),
            None => Err(Error::Lost("no connection".to_owned())),
        }
    }

    pub(super) async fn ask(&mut self, request: &Request) -> Result<Row, Error> {
        let (client, _) = self.get().await?;
        Ok(client.query_typed_one(&request.sql, &request.parameters()).await?)
    }

    /// Close; the next [`Session::get`] connects again.
    pub(super) fn close(&mut self) {
        self.open = None;
    }
}
