//! One node's database, and what is asked there.

use anyhow::Context as _;
use pgq_client::postgres::Client;
use pgq_client::postgres::error::SqlState;
use pgq_client::{Connector, Error, Statements, Stop};
use pgq_replica::{Argument, Row, Session as _};
use serde::Deserialize;

/// Codes of pgq_node and londiste: from here on a call was in order, warns, has failed.
const TOLD: i64 = 200;
const WARNS: i64 = 300;
const FAILED: i64 = 400;

/// A signal has come.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

/// A connection to a node's database.
pub(super) struct Site {
    /// How messages call it.
    name: String,
    client: Client,
    connector: Connector,
    /// What cancels its statements, if anything.
    stop: Option<Stop>,
}

/// What a function answers.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) code: i64,
    pub(super) note: String,
    /// What the function answers besides.
    pub(super) more: Option<String>,
}

/// A node, as its database has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Info {
    pub(super) node_name: String,
    pub(super) node_type: String,
    pub(super) provider_node: Option<String>,
    pub(super) provider_location: Option<String>,
    pub(super) combined_queue: Option<String>,
    pub(super) combined_type: Option<String>,
    pub(super) worker_name: String,
    pub(super) worker_paused: Option<bool>,
    pub(super) worker_uptodate: Option<bool>,
    pub(super) worker_last_tick: Option<i64>,
    pub(super) node_attrs: Option<String>,
    /// Queues that are merged into this one.
    #[serde(default)]
    pub(super) target_for: Option<Vec<String>>,
}

impl Info {
    pub(super) fn is_root(&self) -> bool {
        self.node_type == "root"
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.node_type == "leaf"
    }

    /// The tick up to which the node has all.
    pub(super) fn tick(&self) -> i64 {
        // A node that was just made has none.
        self.worker_last_tick.unwrap_or(0)
    }
}

fn is_cancelled(error: &Error) -> bool {
    error.sqlstate() == Some(SqlState::QUERY_CANCELED.code())
}

/// Is it unknown whether the statement that failed so was done? Else it was not.
pub(super) fn is_unknown(error: &anyhow::Error) -> bool {
    let errors = error.chain().filter_map(|cause| cause.downcast_ref::<Error>());
    errors.into_iter().any(|error| matches!(error, Error::Lost(_)))
}

const INFO: &str = "select pg_catalog.row_to_json(n)::pg_catalog.text
                      from pgq_node.get_node_info($1) n
                     where n.node_name is not null";

impl Site {
    /// Connect.
    pub(super) fn connect(
        name: &str,
        connector: Connector,
        job: &str,
        stop: Option<Stop>,
    ) -> anyhow::Result<Self> {
        let connector = connector.application_name(job);
        let client = connector.connect().with_context(|| format!("node \"{name}\""))?;
        Ok(Self { name: name.to_owned(), client, connector, stop })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    pub(super) fn rows(&mut self, sql: &str, values: &[Argument<'_>]) -> anyhow::Result<Vec<Row>> {
        self.during(|client| Statements(client).rows(sql, values))
    }

    /// The first column of the first row; none without a row, or where it is null.
    pub(super) fn value(
        &mut self,
        sql: &str,
        values: &[Argument<'_>],
    ) -> anyhow::Result<Option<String>> {
        let rows = self.rows(sql, values)?;
        Ok(rows.first().map(|row| row.get(0)).transpose()?.flatten().map(str::to_owned))
    }

    pub(super) fn run(&mut self, sql: &str) -> anyhow::Result<()> {
        self.during(|client| Statements(client).run(sql))
    }

    /// End a transaction that has failed, whatever was asked for.
    pub(super) fn roll_back(&mut self) {
        // Where that cannot be said, the connection is gone, and the transaction with it.
        if let Err(error) = Statements(&mut self.client).run("rollback") {
            log::debug!("node \"{}\": rollback: {error}", self.name);
        }
    }

    fn during<T>(
        &mut self,
        run: impl FnOnce(&mut Client) -> Result<T, Error>,
    ) -> anyhow::Result<T> {
        let done = match &self.stop {
            None => run(&mut self.client),
            Some(stop) => {
                let done = stop.statement(&self.connector, &mut self.client, run);
                let done = done.ok_or(Interrupted)?;
                // That the server has cancelled it says less than why.
                if stop.is_requested() && done.as_ref().is_err_and(is_cancelled) {
                    return Err(Interrupted.into());
                }
                done
            }
        };
        done.with_context(|| format!("node \"{}\"", self.name))
    }

    /// Call `function($1, …)`, given with its casts.
    ///
    /// # Errors
    /// What it answers with a code of an error.
    pub(super) fn call(
        &mut self,
        function: &str,
        values: &[Argument<'_>],
    ) -> anyhow::Result<Answer> {
        self.call_for("null", function, values)
    }

    /// The same, and a column of the answer besides.
    pub(super) fn call_for(
        &mut self,
        column: &str,
        function: &str,
        values: &[Argument<'_>],
    ) -> anyhow::Result<Answer> {
        let answer = self.try_call(column, function, values)?;
        let Answer { code, note, .. } = &answer;
        if *code >= FAILED {
            let what = format!("node \"{}\": {note} (code {code})", self.name);
            return Err(Error::Cascade(what).into());
        }
        match *code {
            code if code >= WARNS => log::warn!("{}: {note}", self.name),
            code if code >= TOLD => log::info!("{}: {note}", self.name),
            _ => log::debug!("{}: {note}", self.name),
        }
        Ok(answer)
    }

    /// The same of a call that must have done its work: what only warns has not.
    pub(super) fn must(
        &mut self,
        column: &str,
        function: &str,
        values: &[Argument<'_>],
    ) -> anyhow::Result<Answer> {
        let answer = self.try_call(column, function, values)?;
        if answer.code >= WARNS {
            let what = format!("node \"{}\": {} (code {})", self.name, answer.note, answer.code);
            return Err(Error::Cascade(what).into());
        }
        Ok(answer)
    }

    fn try_call(
        &mut self,
        column: &str,
        function: &str,
        values: &[Argument<'_>],
    ) -> anyhow::Result<Answer> {
        let sql = format!(
            "select ret_code::pg_catalog.text, ret_note, {column}::pg_catalog.text from {function}"
        );
        let rows = self.rows(&sql, values)?;
        let row = rows.first().ok_or_else(|| Error::Answer(format!("{function} said nothing")))?;
        let note = row.get(1)?.unwrap_or_default().to_owned();
        let more = row.get(2)?.map(str::to_owned);
        Ok(Answer { code: row.number(0)?, note, more })
    }

    /// The node that this database is of the queue, if any.
    pub(super) fn info(&mut self, queue: &str) -> anyhow::Result<Option<Info>> {
        let Some(text) = self.value(INFO, &[queue.into()])? else { return Ok(None) };
        let info = serde_json::from_str(&text);
        let info =
            info.map_err(|error| Error::Answer(format!("pgq_node.get_node_info: {error}")))?;
        Ok(Some(info))
    }

    /// Is there such a schema?
    pub(super) fn has_schema(&mut self, schema: &str) -> anyhow::Result<bool> {
        const SCHEMA: &str = "select n.nspname::pg_catalog.text
                                from pg_catalog.pg_namespace n
                               where n.nspname operator(pg_catalog.=) $1";
        Ok(self.value(SCHEMA, &[schema.into()])?.is_some())
    }
}
