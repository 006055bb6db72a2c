//! The batch query as SQL text, for cursors and for consumers that run it themselves.

use crate::window::Window;

/// Columns of a batch, in order.
const COLUMNS: &str = "e.ev_id, e.ev_time, e.ev_txid, e.ev_retry, e.ev_type, e.ev_data, \
                       e.ev_extra1, e.ev_extra2, e.ev_extra3, e.ev_extra4";

/// Query for the events that a subscription gets from a window, without `order by`; None without
/// tables.
///
/// Whoever runs it does so under a search_path of their own: everything in it is qualified.
/// `tables` are quoted names. `filter` is an SQL condition on the event `e`; it is put in as it is.
pub fn window_sql(
    window: &Window,
    tables: &[String],
    subscription: i32,
    filter: Option<&str>,
) -> Option<String> {
    let mut owner =
        format!(" and (e.ev_owner is null or e.ev_owner operator(pg_catalog.=) {subscription})");
    if let Some(filter) = filter {
        owner.push_str(" and ");
        owner.push_str(filter);
    }
    let ids: Vec<_> = window.old.iter().map(i64::to_string).collect();
    let mut parts = Vec::new();
    for table in tables {
        let select = format!("select {COLUMNS} from {table} e where");
        let sees = |snapshot| {
            format!(
                "pg_catalog.txid_visible_in_snapshot(e.ev_txid, '{snapshot}'::pg_catalog.txid_snapshot)"
            )
        };
        parts.push(format!(
            "{select} e.ev_txid operator(pg_catalog.>=) {} and e.ev_txid operator(pg_catalog.<=) {} \
             and {} and not {}{owner}",
            window.low,
            window.high,
            sees(window.current()),
            sees(window.previous()),
        ));
        if !ids.is_empty() {
            parts.push(format!(
                "{select} e.ev_txid operator(pg_catalog.=) any ('{{{}}}'::pg_catalog.int8[]){owner}",
                ids.join(",")
            ));
        }
    }
    (!parts.is_empty()).then(|| parts.join("\nunion all\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_appear_only_when_there_are_old_transactions() {
        let tables = ["pgq.event_1_0".to_owned()];
        let near = Window::new("10:10:".parse().unwrap(), "12:12:".parse().unwrap());
        assert!(!window_sql(&near, &tables, 4, None).unwrap().contains("union all"));
        let far = Window::new("10:900:10".parse().unwrap(), "910:910:".parse().unwrap());
        assert!(window_sql(&far, &tables, 4, None).unwrap().contains("any ('{10}'::"));
        assert_eq!(window_sql(&near, &[], 4, None), None);
    }

    #[test]
    fn every_part_is_filtered() {
        let tables = ["a".to_owned(), "b".to_owned()];
        let far = Window::new("10:900:10".parse().unwrap(), "910:910:".parse().unwrap());
        let sql = window_sql(&far, &tables, 4, Some("e.ev_id = 7")).unwrap();
        assert_eq!(sql.matches("e.ev_id = 7").count(), 4);
        assert_eq!(sql.matches("e.ev_owner operator(pg_catalog.=) 4").count(), 4);
    }
}
