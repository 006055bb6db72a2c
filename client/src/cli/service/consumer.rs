//! `[pgq_consumer]`: events to a program or to an SQL function, as `pgq consume` does.

use std::time::Duration;

use pgq_client::{Connector, Error, Stop};
use pgq_ini::Section;

use super::plain::Plain;
use crate::cli::work::command::ShellCommand;
use crate::cli::work::function::{event_to_sql, function_call};
use crate::cli::work::line::Form;
use crate::cli::work::retry_policy::RetryPolicy;

/// What is done with events, and when one has failed.
#[derive(Debug)]
pub(super) struct Handling {
    handler: Handler,
    max_attempts: Option<u32>,
    retry_after: Option<Duration>,
}

#[derive(Debug)]
enum Handler {
    Command(String),
    BatchCommand(String),
    Function(String),
}

impl Handling {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        let per_batch = section.boolean("exec_per_batch")?.unwrap_or(false);
        let handler = match (section.take("exec")?, section.take("sql_function")?) {
            (Some(command), None) if per_batch => Handler::BatchCommand(command),
            (Some(command), None) => Handler::Command(command),
            (None, Some(function)) => Handler::Function(function),
            _ => {
                return Err(Error::Config(format!(
                    "[{}]: one of exec and sql_function must be set",
                    section.name()
                )));
            }
        };
        Ok(Self {
            handler,
            max_attempts: section.number("max_attempts")?,
            retry_after: section.seconds("retry_after")?,
        })
    }

    pub(super) fn serve(&self, plain: &Plain, stop: &Stop) -> Result<(), Error> {
        let policy = RetryPolicy {
            after: self.retry_after,
            max_attempts: self.max_attempts,
            has_queue: plain.has_dead_letter_queue(),
        };
        let on_failure = policy.on_failure();
        let mut consumer = plain.builder(stop).on_failure(on_failure).connect(&plain.database)?;
        match &self.handler {
            Handler::Command(command) => {
                let command = ShellCommand::new(command, stop, Form::Events);
                consumer.run(|_, event| command.take_event(event))?;
            }
            Handler::BatchCommand(command) => {
                let command = ShellCommand::new(command, stop, Form::Events);
                consumer.run_batches(|batch| command.take_batch(batch))?;
            }
            Handler::Function(function) => {
                let sql = function_call(&Connector::new(&plain.database)?, function)?;
                consumer.run(|work, event| event_to_sql(work, event, &sql, Form::Events))?;
            }
        }
        Ok(())
    }
}
