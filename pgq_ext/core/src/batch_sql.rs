//! The batch query as SQL text, for cursors and for consumers that run it themselves.

use crate::window::Window;

/// Where a batch is: what identifies it in literals of the query.
#[derive(Clone, Copy, Debug)]
pub struct BatchRef {
    /// `tick_queue` of both ticks.
    pub queue: i32,
    /// The tick the batch starts after.
    pub previous_tick: i64,
    /// The tick the batch ends with.
    pub current_tick: i64,
    /// The subscription, for redelivered events.
    pub subscription: i32,
}

/// Columns of a batch, in order.
const COLUMNS: [&str; 10] = [
    "ev_id",
    "ev_time",
    "ev_txid",
    "ev_retry",
    "ev_type",
    "ev_data",
    "ev_extra1",
    "ev_extra2",
    "ev_extra3",
    "ev_extra4",
];

/// The query over the given event tables (quoted names), ordered by event id. None without tables.
///
/// The text can be run as it is, also later: it names the ticks, not their snapshots.
pub fn batch_sql(batch: BatchRef, window: &Window, tables: &[String]) -> Option<String> {
    let BatchRef { queue, previous_tick, current_tick, subscription } = batch;
    let columns: Vec<_> = COLUMNS.iter().map(|column| format!("e.{column}")).collect();
    let columns = columns.join(", ");
    let owner = format!("(e.ev_owner is null or e.ev_owner = {subscription})");
    let mut parts = Vec::new();
    for table in tables {
        parts.push(format!(
            "select {columns} from {table} e, pgq.tick prev, pgq.tick cur \
             where prev.tick_queue = {queue} and prev.tick_id = {previous_tick} \
             and cur.tick_queue = {queue} and cur.tick_id = {current_tick} \
             and e.ev_txid between {low} and {high} \
             and pg_catalog.txid_visible_in_snapshot(e.ev_txid, cur.tick_snapshot) \
             and not pg_catalog.txid_visible_in_snapshot(e.ev_txid, prev.tick_snapshot) \
             and {owner}",
            low = window.low,
            high = window.high,
        ));
        if !window.old.is_empty() {
            let ids: Vec<_> = window.old.iter().map(i64::to_string).collect();
            parts.push(format!(
                "select {columns} from {table} e where e.ev_txid in ({}) and {owner}",
                ids.join(", ")
            ));
        }
    }
    (!parts.is_empty()).then(|| format!("{} order by 1", parts.join(" union all ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_appear_only_when_there_are_old_transactions() {
        let batch = BatchRef { queue: 1, previous_tick: 2, current_tick: 3, subscription: 4 };
        let tables = ["pgq.event_1_0".to_owned()];
        let near = Window::new("10:10:".parse().unwrap(), "12:12:".parse().unwrap());
        assert!(!batch_sql(batch, &near, &tables).unwrap().contains("union all"));
        let far = Window::new("10:900:10".parse().unwrap(), "910:910:".parse().unwrap());
        assert!(batch_sql(batch, &far, &tables).unwrap().contains("e.ev_txid in (10)"));
        assert_eq!(batch_sql(batch, &near, &[]), None);
    }
}
