//! What the server on the other end can do, asked once per connection.

use postgres::types::Type;
use postgres::{GenericClient, Row};

use crate::error::Error;

/// Abilities of a server that decide which SQL is sent to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Version of extension pgq, or none when it was installed by script.
    pub pgq_version: Option<String>,
    /// `pgq.insert_events` exists (PgQ 4).
    pub insert_events: bool,
    /// `pgq.nack` exists (PgQ 4.1): queues say how failures are dealt with, and keep dead letters.
    pub nack: bool,
    /// `pgq.wait_batch` exists (PgQ 4 with worker); the number of its arguments.
    pub wait_batch: Option<i16>,
    /// Extension pgq_coop is there.
    pub coop: bool,
    /// Extension pgq_ext is there.
    pub ext: bool,
}

impl Features {
    /// Ask the server.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Lost`].
    pub fn detect(client: &mut impl GenericClient) -> Result<Self, Error> {
        Self::from_row(&client.query_typed_one(Self::QUESTION, &[])?)
    }

    /// What [`Features::detect`] asks.
    pub(crate) const QUESTION: &str = include_str!("features.sql");
    /// What [`Features::has_pgq`] asks.
    pub(crate) const HAS_PGQ: &str = "select pg_catalog.to_regnamespace('pgq') is not null";

    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            pgq_version: row.try_get(0)?,
            insert_events: row.try_get(1)?,
            nack: row.try_get(2)?,
            wait_batch: row.try_get(3)?,
            coop: row.try_get(4)?,
            ext: row.try_get(5)?,
        })
    }

    /// Does the database have schema pgq?
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Lost`].
    pub fn has_pgq(client: &mut impl GenericClient) -> Result<bool, Error> {
        Ok(client.query_typed_one(Self::HAS_PGQ, &[])?.try_get(0)?)
    }

    /// Does schema pgq have a function of this name? For those few that only one place asks for.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Lost`].
    pub fn has_function(client: &mut impl GenericClient, name: &str) -> Result<bool, Error> {
        let row = client.query_typed_one(
            "select exists (select from pg_catalog.pg_proc
                             where pronamespace operator(pg_catalog.=)
                                       pg_catalog.to_regnamespace('pgq')::pg_catalog.oid
                               and proname operator(pg_catalog.=) $1)",
            &[(&name, Type::TEXT)],
        )?;
        Ok(row.try_get(0)?)
    }
}

/// Fail with advice when the database has no queue.
///
/// # Errors
/// [`Error::Missing`] when schema pgq is not there.
pub(crate) fn require_pgq(client: &mut impl GenericClient, label: &str) -> Result<(), Error> {
    match Features::has_pgq(client)? {
        true => Ok(()),
        false => Err(no_pgq(label)),
    }
}

pub(crate) fn no_pgq(label: &str) -> Error {
    Error::Missing(format!(
        "{label}: extension pgq is not installed there; run \"create extension pgq\" or \"pgq install\""
    ))
}
