//! What a subscription asks of the server: statements with their arguments. The blocking and the
//! asynchronous consumer send the same ones.

use std::time::Duration;

use postgres::types::{ToSql, Type};

use super::Subscription;
use crate::features::Features;

/// A statement with one row as its answer, or a page of events.
pub(crate) struct Request {
    pub(crate) sql: String,
    arguments: Vec<Argument>,
}

enum Argument {
    Text(Option<String>),
    Int4(Option<i32>),
    Int8(i64),
}

impl Request {
    fn new(sql: impl Into<String>, arguments: impl IntoIterator<Item = Argument>) -> Self {
        Self { sql: sql.into(), arguments: arguments.into_iter().collect() }
    }

    /// The arguments as the driver takes them.
    pub(crate) fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.arguments.iter().map(Argument::parameter).collect()
    }
}

impl Argument {
    fn parameter(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Text(text) => (text, Type::TEXT),
            Self::Int4(number) => (number, Type::INT4),
            Self::Int8(number) => (number, Type::INT8),
        }
    }
}

fn text(text: &str) -> Argument {
    Argument::Text(Some(text.to_owned()))
}

/// For `$n::interval`.
fn interval(duration: Option<Duration>) -> Argument {
    Argument::Text(duration.map(|duration| format!("{} microseconds", duration.as_micros())))
}

/// Ids and times of a batch.
pub(crate) fn batch_info(id: i64) -> Request {
    Request::new("select * from pgq.get_batch_info($1)", [Argument::Int8(id)])
}

/// The first page of a batch, and a cursor in the transaction for the others.
pub(crate) fn open_cursor(id: i64, name: &str, rows: usize, filter: Option<&str>) -> Request {
    let rows = Argument::Int4(Some(i32::try_from(rows).unwrap_or(i32::MAX)));
    Request::new(
        "select * from pgq.get_batch_cursor($1, $2, $3, $4)",
        [Argument::Int8(id), text(name), rows, Argument::Text(filter.map(str::to_owned))],
    )
}

impl Subscription {
    fn names(&self) -> impl Iterator<Item = Argument> {
        let member = self.member.as_ref().map(|member| member.name.as_str());
        [Some(self.queue.as_str()), Some(&self.consumer), member].into_iter().flatten().map(text)
    }

    /// Register: not 0 when it was not registered before.
    pub(crate) fn registration(&self) -> Request {
        let sql = match self.member {
            None => "select pgq.register_consumer($1, $2)",
            Some(_) => "select pgq_coop.register_subconsumer($1, $2, $3)",
        };
        Request::new(sql, self.names())
    }

    /// Unregister: 0 when it was not registered.
    pub(crate) fn removal(&self) -> Request {
        let sql = match self.member {
            None => "select pgq.unregister_consumer($1, $2)",
            Some(_) => "select pgq_coop.unregister_subconsumer($1, $2, $3, 0)",
        };
        Request::new(sql, self.names())
    }

    /// The open batch, or the next one: ids and times, but of a member's the id only.
    pub(crate) fn look(&self) -> Request {
        let rule = [
            interval(self.rule.min_lag),
            Argument::Int4(self.rule.min_count),
            interval(self.rule.min_interval),
        ];
        match &self.member {
            None => Request::new(
                "select * from pgq.next_batch_custom($1, $2, $3::interval, $4, $5::interval)",
                self.names().chain(rule),
            ),
            Some(member) => Request::new(
                "select pgq_coop.next_batch_custom($1, $2, $3, $4::interval, $5, $6::interval, $7::interval)",
                self.names().chain(rule).chain([interval(member.takeover)]),
            ),
        }
    }

    /// Wait in the server for the next batch: its id in column `batch_id`.
    pub(crate) fn wait(&self, features: &Features, timeout: Duration) -> Request {
        let outputs = usize::try_from(features.wait_batch.unwrap_or(4)).unwrap_or(4) - 3;
        let nulls = vec!["null"; outputs].join(", ");
        Request::new(
            format!("call pgq.wait_batch($1, $2, $3::interval, {nulls})"),
            [text(&self.queue), text(&self.consumer), interval(Some(timeout))],
        )
    }

    /// Finish a batch: 0 when it is not this one's any more.
    pub(crate) fn end(&self, batch_id: i64) -> Request {
        let sql = match self.member {
            None => "select pgq.finish_batch($1)",
            Some(_) => "select pgq_coop.finish_batch($1)",
        };
        Request::new(sql, [Argument::Int8(batch_id)])
    }
}
