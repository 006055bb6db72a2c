//! `pgq top`: the same tables, again and again, with rates.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use pgq_client::{Error, Stop};
use postgres::Client;
use serde_json::{Value, json};

use super::companions::Companions;
use super::output::{Format, Rows};
use super::{Exit, Global, signals, status};

/// Watch queues and consumers live.
#[derive(Debug, clap::Args)]
pub(super) struct Top {
    /// Seconds between looks
    #[arg(long, short = 'i', default_value_t = 2.0)]
    interval: f64,
    /// Stop after this many looks
    #[arg(long, short = 'n')]
    count: Option<u64>,
}

pub(super) const QUEUES: &str = "
select i.queue_name as queue, i.last_tick_id as tick, date_trunc('milliseconds', i.ticker_lag)::text as tick_age,
       q.queue_ticker_paused as paused, i.queue_cur_table as \"table\",
       i.ev_new as new_events, pgq.seq_getval(q.queue_event_seq) as events,
       (select count(*) from pgq.get_consumer_info(i.queue_name)) as consumers
  from pgq.get_queue_info() i join pgq.queue q using (queue_name)
 order by 1";

const CONSUMERS: &str = "
select c.queue_name as queue, c.consumer_name as consumer, date_trunc('milliseconds', c.lag)::text as lag,
       date_trunc('milliseconds', c.last_seen)::text as last_seen, c.pending_events as pending,
       coalesce(c.last_tick, c.next_tick) as tick,
       (select t.tick_event_seq from pgq.tick t join pgq.queue q on q.queue_id = t.tick_queue
         where q.queue_name = c.queue_name and t.tick_id = c.last_tick) as position
  from pgq.get_consumer_info() c
 order by c.lag desc nulls last, 1, 2";

const WORKER: &str = "
select database_name as database, state, pid, date_trunc('seconds', now() - last_tick)::text as tick_age,
       ticks, demand_ticks as on_demand, retries_moved as retries, rotations, errors, last_error
  from pgq.worker_status() where database_name = current_database()";

/// Counter by name, at the look before.
type Before = BTreeMap<String, (i64, Instant)>;

impl Top {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let mut client = global.connect()?;
        let interval = Duration::try_from_secs_f64(self.interval)
            .map_err(|_| Error::Config("--interval must not be negative".to_owned()))?;
        let stop = Stop::new();
        signals::handle(&stop, false)?;
        let has_worker = status::has_function(&mut client, "worker_status")?;
        let mut before = Before::new();
        let clears = std::io::stdout().is_terminal() && global.format() == Format::Table;
        let mut looks = 0;
        loop {
            let mut queues = Rows::query(&mut client, QUEUES, &[])?;
            rate(&mut queues, &mut before, "events", "in_per_s");
            let mut consumers = Rows::query(&mut client, CONSUMERS, &[])?;
            rate(&mut consumers, &mut before, "position", "out_per_s");
            let worker =
                if has_worker { Some(Rows::query(&mut client, WORKER, &[])?) } else { None };
            let companions = Companions::load(&mut client)?;
            let tables: Vec<&Rows> =
                [&queues, &consumers].into_iter().chain(companions.tables()).collect();
            show(&mut client, global, clears, &tables, worker.as_ref())?;
            looks += 1;
            if self.count.is_some_and(|count| looks >= count) || stop.sleep(interval) {
                return Ok(Exit::Ok);
            }
        }
    }
}

fn show(
    client: &mut Client,
    global: &Global,
    clears: bool,
    tables: &[&Rows],
    worker: Option<&Rows>,
) -> anyhow::Result<()> {
    let format = global.format();
    if format == Format::Json {
        for rows in worker.into_iter().chain(tables.iter().copied()) {
            rows.print(format)?;
        }
        return Ok(());
    }
    let row = client
        .query_typed_one(
            "select current_database() || ', ' || date_trunc('seconds', clock_timestamp()), coalesce(pgq.version(), '?')",
            &[],
        )
        .map_err(Error::from)?;
    let title: String = row.try_get(0).map_err(Error::from)?;
    let version: String = row.try_get(1).map_err(Error::from)?;
    let mut text = format!("{title}, pgq {version}\n");
    let worker_rows = worker.filter(|rows| !rows.rows.is_empty());
    if worker.is_some() && worker_rows.is_none() {
        text.push_str("no worker drives this database\n");
    }
    for rows in worker_rows.into_iter().chain(tables.iter().copied()) {
        text.push('\n');
        for line in rows.lines() {
            text.push_str(&line);
            text.push('\n');
        }
    }
    let mut out = std::io::stdout().lock();
    if clears {
        // Home, then clear what the last look left: no flicker.
        write!(out, "\x1b[H\x1b[2J")?;
    }
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
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
