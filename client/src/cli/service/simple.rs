//! `[simple_consumer3]`, `[simple_local_consumer3]`: a query in another database for each row
//! change. At least once: a failure repeats the whole batch.

use pgq_client::{Connector, Error, Event, RowChange, Stop};
use pgq_connect::quote;
use pgq_ini::Section;
use postgres::{Client, Transaction};

use super::plain::Plain;
use crate::cli::work::advise;

/// What they ask for happens in any case.
const RETRY_KEYS: [&str; 6] = [
    "sql_retry",
    "sql_retry_max_count",
    "sql_retry_max_time",
    "sql_retry_formula_a",
    "sql_retry_formula_b",
    "sql_retry_formula_cap",
];

#[derive(Debug)]
pub(super) struct Simple {
    target: String,
    query: String,
}

impl Simple {
    /// `[simple_local_consumer3]` has keys more.
    pub(super) fn read_local(section: &mut Section<'_>) -> Result<Self, Error> {
        for key in RETRY_KEYS {
            section.ignore(key);
        }
        Self::read(section)
    }

    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        Ok(Self { target: section.require("dst_db")?, query: section.require("dst_query")? })
    }

    /// Is its target a connection string?
    pub(super) fn check(&self) -> Result<(), Error> {
        Connector::new(&self.target).map(drop)
    }

    pub(super) fn serve(&self, plain: &Plain, stop: &Stop) -> Result<(), Error> {
        let target = Connector::new(&self.target)?;
        let mut client: Option<Client> = Some(target.connect()?);
        plain.builder(stop).connect(&plain.database)?.run_batches(|batch| {
            let mut there = match client.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => target.connect()?,
            };
            let tick = batch.batch().tick;
            let mut transaction = there.transaction()?;
            while let Some(page) = batch.next_page()? {
                for event in &page {
                    let done = match batch.can_bury() {
                        true => self.try_apply(&mut transaction, event, tick),
                        false => self.apply(&mut transaction, event, tick),
                    };
                    match done {
                        Err(error) if error.is_of_event() => {
                            batch.bury(event, error).map_err(advise)?;
                        }
                        done => done?,
                    }
                }
            }
            transaction.commit()?;
            client = Some(there);
            Ok(())
        })?;
        Ok(())
    }

    /// Run the query for an event; nothing for one that is no row change.
    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        event: &Event,
        tick: i64,
    ) -> Result<(), Error> {
        let Some(change) = event.change()? else { return Ok(()) };
        match transaction.simple_query(&self.fill(event, &change, tick)?).map_err(Error::from) {
            Err(Error::Server(mut error)) => {
                error.message = format!("event {}: {}", event.id, error.message);
                Err(Error::Server(error))
            }
            other => other.map(drop),
        }
    }

    /// The same; what a refused event has done is undone.
    fn try_apply(
        &self,
        transaction: &mut Transaction<'_>,
        event: &Event,
        tick: i64,
    ) -> Result<(), Error> {
        let mut attempt = transaction.transaction()?;
        self.apply(&mut attempt, event, tick)?;
        Ok(attempt.commit()?)
    }

    /// The query with each `%(name)s` replaced by a literal.
    fn fill(&self, event: &Event, change: &RowChange, tick: i64) -> Result<String, Error> {
        let mut out = String::with_capacity(self.query.len() + 100);
        let mut rest = self.query.as_str();
        while let Some((before, after)) = rest.split_once("%(") {
            out.push_str(before);
            let (name, after) = after
                .split_once(")s")
                .ok_or_else(|| Error::Config("dst_query: \"%(\" without \")s\"".to_owned()))?;
            out.push_str(&quote::nullable(value(event, change, tick, name)?.as_deref()));
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// A column of the row, or a field of the event.
fn value(
    event: &Event,
    change: &RowChange,
    tick: i64,
    name: &str,
) -> Result<Option<String>, Error> {
    Ok(match name {
        "pgq.tick_id" => Some(tick.to_string()),
        "pgq.ev_id" => Some(event.id.to_string()),
        "pgq.ev_time" => Some(humantime::format_rfc3339_micros(event.time).to_string()),
        "pgq.ev_type" => event.ev_type.clone(),
        "pgq.ev_data" => event.data.clone(),
        "pgq.ev_extra1" => event.extra1.clone(),
        "pgq.ev_extra2" => event.extra2.clone(),
        "pgq.ev_extra3" => event.extra3.clone(),
        "pgq.ev_extra4" => event.extra4.clone(),
        column => match change.column(column) {
            Some(value) => value.map(str::to_owned),
            None => {
                return Err(Error::Payload(format!(
                    "event {}: the row has no column \"{column}\"",
                    event.id
                )));
            }
        },
    })
}
