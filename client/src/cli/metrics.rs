//! `pgq metrics`: the numbers of `pgq.metrics()` as Prometheus reads them.

use std::collections::BTreeMap;

use pgq_client::{Error, Features};
use serde_json::Value;

use super::output::{Format, Rows, write};
use super::{Exit, Global};

/// Print numbers for Prometheus.
#[derive(Debug, clap::Args)]
pub(super) struct Metrics {}

/// What the numbers are. `docs/monitoring.md` says more.
const HELP: [(&str, &str); 22] = [
    ("pgq_queue_events_total", "last event id; gaps count"),
    ("pgq_queue_unticked_events", "events since the newest tick"),
    ("pgq_queue_tick_id", "newest tick"),
    ("pgq_queue_tick_age_seconds", "age of the newest tick"),
    ("pgq_queue_rotation_age_seconds", "time since the last switch of event tables"),
    ("pgq_queue_table_bytes", "size of the event tables, without indexes"),
    ("pgq_queue_paused", "1: the queue is paused"),
    ("pgq_queue_waiting_consumers", "sessions in wait_batch"),
    ("pgq_consumer_lag_seconds", "age of the consumer's position"),
    ("pgq_consumer_last_seen_seconds", "time since the consumer took or finished a batch"),
    ("pgq_consumer_pending_events", "events ticked and not finished, by ids"),
    ("pgq_consumer_open_batch", "1: the consumer has a batch open"),
    ("pgq_retry_events", "events waiting for another delivery"),
    ("pgq_retry_overdue_seconds", "since when the oldest of them is due"),
    ("pgq_dead_letters", "events given up that a dead-letter queue holds, counted up to 10,000"),
    ("pgq_dead_letters_oldest_seconds", "age of the oldest of them"),
    ("pgq_worker_up", "1: a worker runs in this database"),
    ("pgq_worker_ticks_total", "ticks laid by the worker"),
    ("pgq_worker_demand_ticks_total", "ticks that waiting consumers caused"),
    ("pgq_worker_restarts_total", "how often the worker was started again"),
    ("pgq_worker_errors_total", "how often the worker failed at something"),
    ("pgq_problems", "things that fail at the moment"),
];

const NUMBERS: &str = "
select name, labels::pg_catalog.text as labels, value
  from pgq.metrics()
 order by name, labels::pg_catalog.text";

impl Metrics {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let mut client = global.connect()?;
        if !Features::has_function(&mut client, "metrics")? {
            return Err(
                Error::Missing("this PgQ has no pgq.metrics(): it takes PgQ 4".to_owned()).into()
            );
        }
        let rows = Rows::query(&mut client, NUMBERS, &[])?;
        match global.format() {
            Format::Json => rows.print(Format::Json)?,
            Format::Table => write(&exposition(&rows))?,
        }
        Ok(Exit::Ok)
    }
}

/// Prometheus' text format.
fn exposition(rows: &Rows) -> String {
    let mut out = String::new();
    let mut last = "";
    for row in &rows.rows {
        let [Value::String(name), labels, value] = row.as_slice() else { continue };
        if name != last {
            let known = HELP.iter().find(|(metric, _)| metric == name);
            let help = known.map_or("see docs/monitoring.md", |(_, help)| help);
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            last = name;
        }
        out.push_str(&format!("{name}{} {value}\n", label_set(labels)));
    }
    out
}

fn label_set(labels: &Value) -> String {
    let parsed: BTreeMap<String, Value> =
        labels.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let label = |(name, value): (&String, &Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{text}\"")
    };
    let labels: Vec<_> = parsed.iter().map(label).collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::exposition;
    use crate::cli::output::Rows;

    #[test]
    fn names_have_help_and_type_once_and_labels_are_escaped() {
        let rows = Rows {
            rows: vec![
                vec![json!("pgq_queue_events_total"), json!(r#"{"queue":"a\"b\nc"}"#), json!(5.0)],
                vec![json!("pgq_queue_events_total"), json!(r#"{"queue":"d"}"#), json!(1.5)],
                vec![json!("pgq_worker_up"), json!("{}"), json!(1.0)],
            ],
            ..Rows::default()
        };
        assert_eq!(
            exposition(&rows),
            "# HELP pgq_queue_events_total last event id; gaps count\n\
             # TYPE pgq_queue_events_total counter\n\
             pgq_queue_events_total{queue=\"a\\\"b\\nc\"} 5.0\n\
             pgq_queue_events_total{queue=\"d\"} 1.5\n\
             # HELP pgq_worker_up 1: a worker runs in this database\n\
             # TYPE pgq_worker_up gauge\n\
             pgq_worker_up 1.0\n"
        );
    }
}
