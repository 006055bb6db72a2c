//! A connection, or a transaction of it, as the pure half of replication asks for it.

use std::fmt::Display;

use pgq_replica::{Argument, Row, Session};
use postgres::GenericClient;
use postgres::types::{ToSql, Type};

use crate::error::Error;

/// A connection or a transaction of it, in which an [`crate::Applier`] can write.
pub struct Statements<'a, C>(pub &'a mut C);

type Parameter<'v> = (&'v (dyn ToSql + Sync), Type);

fn parameters<'v>(arguments: &'v [Argument<'v>]) -> Vec<Parameter<'v>> {
    let parameter = |argument: &'v Argument<'v>| -> Parameter<'v> {
        match argument {
            Argument::Text(text) => (text, Type::TEXT),
            Argument::Texts(texts) => (texts, Type::TEXT_ARRAY),
        }
    };
    arguments.iter().map(parameter).collect()
}

impl<C: GenericClient> Session for Statements<'_, C> {
    type Error = Error;

    fn rows(&mut self, sql: &str, arguments: &[Argument<'_>]) -> Result<Vec<Row>, Error> {
        let rows = self.0.query_typed(sql, &parameters(arguments))?;
        let texts = |row: &postgres::Row| -> Result<Row, Error> {
            Ok(Row((0..row.len()).map(|column| row.try_get(column)).collect::<Result<_, _>>()?))
        };
        rows.iter().map(texts).collect()
    }

    fn execute(&mut self, sql: &str, arguments: &[Argument<'_>]) -> Result<u64, Error> {
        Ok(self.0.execute_typed(sql, &parameters(arguments))?)
    }

    fn run(&mut self, sql: &str) -> Result<(), Error> {
        Ok(self.0.batch_execute(sql)?)
    }

    fn savepoint(&mut self) -> Result<(), Error> {
        self.run("savepoint pgq_replica")
    }

    fn release(&mut self) -> Result<(), Error> {
        self.run("release savepoint pgq_replica")
    }

    fn roll_back(&mut self) -> Result<(), Error> {
        // The inner one of two of this name is what both mean.
        self.run("rollback to savepoint pgq_replica; release savepoint pgq_replica")
    }

    fn remark(&mut self, what: &dyn Display) {
        log::debug!("{what}");
    }
}
