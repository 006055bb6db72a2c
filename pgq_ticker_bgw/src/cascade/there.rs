//! The connection to the provider.

use std::time::Duration;

use pgq_pg::remote::Connection;
use pgq_replica::cascade::drive::{Remote, Rows};
use pgq_replica::{Argument, Row, Session};

use super::here::parameters;
use super::problem::Problem;

/// A session at the provider.
pub(super) struct There {
    pub(super) connection: Connection,
    /// For how long it may say nothing.
    pub(super) silence: Duration,
}

/// What the session shows and keeps, whatever its role and its database have set.
const SET_UP: &str = "\
    set datestyle = 'ISO, MDY'; set intervalstyle = postgres; set extra_float_digits = 3; \
    set bytea_output = hex; set search_path = pg_catalog, pg_temp; set statement_timeout = 0; \
    set idle_in_transaction_session_timeout = 0; \
    set default_transaction_isolation = 'read committed'; set default_transaction_read_only = off";

/// What only later servers have. One that we have gone from looks whether we are there.
const LATER: &str = "\
    select pg_catalog.set_config(s.name, v.value, false) \
      from pg_catalog.pg_settings s, \
           (values ('client_connection_check_interval', '10s'), ('idle_session_timeout', '0'), \
                   ('transaction_timeout', '0')) v (name, value) \
     where s.name operator(pg_catalog.=) v.name";

impl There {
    /// Set the session up.
    pub(super) fn set_up(&mut self) -> Result<(), Problem> {
        self.run(SET_UP)?;
        // Its statements are not to wait there for longer than we wait for them.
        let wait = self.silence.as_millis() * 9 / 10;
        self.run(&format!("set lock_timeout = {wait}"))?;
        self.rows(LATER, &[])?;
        Ok(())
    }
}

impl Session for There {
    type Error = Problem;

    fn rows(&mut self, sql: &str, arguments: &[Argument<'_>]) -> Result<Vec<Row>, Problem> {
        let rows = self.connection.rows(sql, &parameters(arguments), self.silence)?;
        Ok(rows.into_iter().map(Row).collect())
    }

    fn execute(&mut self, sql: &str, arguments: &[Argument<'_>]) -> Result<u64, Problem> {
        let rows = self.rows(sql, arguments)?;
        Ok(u64::try_from(rows.len()).expect("usize has at most 64 bits"))
    }

    fn run(&mut self, sql: &str) -> Result<(), Problem> {
        Ok(self.connection.run(sql, self.silence)?)
    }

    fn savepoint(&mut self) -> Result<(), Problem> {
        self.run("savepoint pgq_replica")
    }

    fn release(&mut self) -> Result<(), Problem> {
        self.run("release savepoint pgq_replica")
    }

    fn roll_back(&mut self) -> Result<(), Problem> {
        self.run("rollback to savepoint pgq_replica; release savepoint pgq_replica")
    }
}

impl Remote for There {
    fn copy_out<T>(
        &mut self,
        sql: &str,
        body: impl FnOnce(Rows<'_, Problem>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let mut copied = self.connection.copy_out(sql, self.silence)?;
        body(&mut || Ok(copied.chunk()?.map(<[u8]>::to_vec)))
    }
}
