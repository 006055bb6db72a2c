//! This process's own session, in the node's database.

use std::fmt::Display;

use pgq_pg::parameter::Parameter;
use pgq_pg::{copy, guc, piece, report};
use pgq_replica::cascade::drive::{Local, Rows};
use pgq_replica::{Argument, Row, Session};

use super::problem::Problem;

/// The session of this process.
pub(super) struct Here;

impl Here {
    /// In the transaction that is open, or in one for this alone.
    fn whole<T>(
        &mut self,
        body: impl FnOnce() -> Result<T, pgq_pg::session::Failure>,
    ) -> Result<T, Problem> {
        if piece::is_open() {
            return Ok(body()?);
        }
        piece::begin()?;
        match body() {
            Ok(done) => {
                piece::commit()?;
                Ok(done)
            }
            Err(failure) => {
                piece::abort();
                Err(failure.into())
            }
        }
    }
}

/// The arguments of a statement, as the fence takes them.
pub(super) fn parameters<'v>(arguments: &'v [Argument<'v>]) -> Vec<Parameter<'v>> {
    let parameter = |argument: &'v Argument<'v>| match *argument {
        Argument::Text(text) => Parameter::Text(text),
        Argument::Texts(texts) => Parameter::Texts(texts),
    };
    arguments.iter().map(parameter).collect()
}

impl Session for Here {
    type Error = Problem;

    fn rows(&mut self, sql: &str, arguments: &[Argument<'_>]) -> Result<Vec<Row>, Problem> {
        let rows = self.whole(|| piece::rows(sql, &parameters(arguments)))?;
        Ok(rows.into_iter().map(Row).collect())
    }

    fn execute(&mut self, sql: &str, arguments: &[Argument<'_>]) -> Result<u64, Problem> {
        self.whole(|| piece::execute(sql, &parameters(arguments)))
    }

    fn run(&mut self, sql: &str) -> Result<(), Problem> {
        self.whole(|| piece::run(sql))
    }

    fn savepoint(&mut self) -> Result<(), Problem> {
        Ok(piece::savepoint()?)
    }

    fn release(&mut self) -> Result<(), Problem> {
        Ok(piece::release()?)
    }

    fn roll_back(&mut self) -> Result<(), Problem> {
        Ok(piece::roll_back()?)
    }

    fn remark(&mut self, what: &dyn Display) {
        report::log(&format!("londiste: {what}"));
    }
}

impl Local for Here {
    fn begin(&mut self) -> Result<(), Problem> {
        Ok(piece::begin()?)
    }

    fn commit(&mut self) -> Result<(), Problem> {
        // A trigger may have said otherwise, or the configuration. The provider is told at once.
        if guc::commits_are_asynchronous() {
            piece::run("set local synchronous_commit = local")?;
        }
        Ok(piece::commit()?)
    }

    fn abort(&mut self) {
        piece::abort();
    }

    fn tidy(&mut self) -> Result<(), Problem> {
        // The session's own values come back, as they were set at its beginning.
        self.run("reset session authorization; reset role; reset all; close all; discard temp")
    }

    fn copy_in(
        &mut self,
        (schema, table): (&str, &str),
        columns: &[String],
        rows: Rows<'_, Problem>,
    ) -> Result<u64, Problem> {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        Ok(copy::copy_in(schema, table, &columns, rows)?)
    }
}
