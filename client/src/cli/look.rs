//! What `top` looks at: queues and consumers with rates, the worker, and what is wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pgq_client::{Error, Features};
use postgres::Client;
use serde_json::{Value, json};

use super::companions::Companions;
use super::output::Rows;
use super::views;

const CONSUMERS: &str = "
select c.queue_name as queue, c.consumer_name as consumer, c.lag, c.last_seen,
       c.pending_events as pending,
       coalesce(c.last_tick, c.next_tick) as tick,
       (select t.tick_event_seq
          from pgq.tick t
               join pgq.queue q on q.queue_id operator(pg_catalog.=) t.tick_queue
         where q.queue_name operator(pg_catalog.=) c.queue_name
           and t.tick_id operator(pg_catalog.=) c.last_tick) as position
  from pgq.get_consumer_info() c
 order by c.lag desc nulls last, 1, 2";

const WORKER: &str = "
select database_name as database, state, pid,
       pg_catalog.now() operator(pg_catalog.-) last_tick as tick_age,
       ticks, demand_ticks as on_demand, retries_moved as retries, rotations, errors, last_error
  from pgq.worker_status()
 where database_name operator(pg_catalog.=) pg_catalog.current_database()";

/// Counter by name, at the look before.
type Before = BTreeMap<String, (i64, Instant)>;

/// One look.
pub(super) struct Look {
    /// Database, time, version.
    pub(super) title: String,
    /// None: this server has no workers at all.
    pub(super) worker: Option<Rows>,
    pub(super) queues: Rows,
    pub(super) consumers: Rows,
    pub(super) companions: Companions,
}

/// Looks again and again, and knows the figures of the look before.
#[derive(Default)]
pub(super) struct Looker {
    before: Before,
}

impl Looker {
    pub(super) fn look(&mut self, client: &mut Client) -> Result<Look, Error> {
        let mut queues = Rows::query(client, views::QUEUES, &[])?.of_kind("queue");
        rate(&mut queues, &mut self.before, "events", "in_per_s");
        let mut consumers = Rows::query(client, CONSUMERS, &[])?.of_kind("consumer");
        rate(&mut consumers, &mut self.before, "position", "out_per_s");
        let worker = Features::has_function(client, "worker_status")?
            .then(|| Rows::query(client, WORKER, &[]))
            .transpose()?
            .map(|rows| rows.of_kind("worker"));
        let row = client.query_typed_one(
            "select pg_catalog.concat(
                        pg_catalog.current_database(), ', ',
                        pg_catalog.date_trunc('seconds', pg_catalog.clock_timestamp()),
                        ', pgq ', coalesce(pgq.version(), '?'))",
            &[],
        )?;
        let companions = Companions::load(client)?;
        Ok(Look { title: row.try_get(0)?, worker, queues, consumers, companions })
    }
}

impl Look {
    /// Everything that has rows, in the order in which it is shown.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Rows> {
        let always = [&self.queues, &self.consumers].into_iter();
        self.worker_rows().into_iter().chain(always).chain(self.companions.tables())
    }

    fn worker_rows(&self) -> Option<&Rows> {
        self.worker.as_ref().filter(|rows| !rows.rows.is_empty())
    }

    /// True when there could be a worker here, and is none.
    pub(super) fn lacks_worker(&self) -> bool {
        self.worker.is_some() && self.worker_rows().is_none()
    }
}

/// Replace a counter by its growth per second since the look before.
fn rate(rows: &mut Rows, before: &mut Before, counter: &str, name: &str) {
    let Some(index) = rows.columns.iter().position(|column| column == counter) else { return };
    if let Some(column) = rows.columns.get_mut(index) {
        *column = name.to_owned();
    }
    for row in &mut rows.rows {
        let key = format!("{name} {:?}", row.get(..2));
        let key = if name == "in_per_s" { format!("{name} {:?}", row.first()) } else { key };
        let Some(cell) = row.get_mut(index) else { continue };
        let Some(now) = cell.as_i64() else { continue };
        let at = Instant::now();
        *cell = match before.insert(key, (now, at)) {
            Some((then, since)) => per_second(now - then, at - since),
            None => Value::Null,
        };
    }
}

#[expect(clippy::as_conversions, reason = "a count of events per look is far below 2^52")]
fn per_second(events: i64, time: Duration) -> Value {
    json!((events as f64 / time.as_secs_f64().max(0.001)).round())
}
