//! What `pgq.queue_health()` and `pgq.metrics()` say, and that a broken queue does not stop the
//! others.

use pgq_tests::{PATIENCE, scratch_database_with_worker, wait_until};
use postgres::Client;

use super::{consume, number, preloaded, quiet_queue, worker_pid};

/// Findings as `queue|severity|code`.
fn findings(client: &mut Client) -> Vec<String> {
    client
        .query("select concat_ws('|', queue_name, severity, code) from pgq.queue_health()", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

fn text(client: &mut Client, code: &str) -> String {
    client
        .query_one(
            "select coalesce(string_agg(finding || ' / ' || remedy, chr(10)), '')
               from pgq.queue_health() where code = $1",
            &[&code],
        )
        .unwrap()
        .get(0)
}

#[test]
fn a_healthy_database_has_no_findings() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    quiet_queue(&mut client, &["c"]);
    worker_pid(&mut client);
    assert!(
        wait_until(PATIENCE, || findings(&mut client).is_empty()),
        "{:?}",
        findings(&mut client)
    );
}

#[test]
fn a_broken_queue_is_named_and_the_others_go_on() {
    let cluster =
        preloaded().set("pgq.ticker_period", "50ms").set("pgq.maint_period", "50ms").start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    client
        .batch_execute(
            "select pgq.create_queue('broken'); select pgq.create_queue('q');
             select pgq.register_consumer('q', 'c');
             update pgq.queue set queue_rotation_period = '0', queue_ticker_max_lag = '0',
                 queue_ticker_idle_period = '0'",
        )
        .unwrap();
    // Without the worker in between, whose locks would deadlock with these.
    worker_pid(&mut client);
    client.batch_execute("select pgq.stop_worker()").unwrap();
    let stopped = "select count(*) from pgq.worker_status() where state = 'stopped'";
    assert!(wait_until(PATIENCE, || number(&mut client, stopped) == 1));
    client
        .batch_execute(
            "alter table pgq.event_1_1 rename to gone; alter sequence pgq.event_1_tick_seq rename to gone_seq;
             drop index pgq.event_1_0_txid_idx; alter table pgq.event_1_2 no inherit pgq.event_1;
             alter table pgq.event_1_2 drop column ev_extra4",
        )
        .unwrap();
    client.batch_execute("select pgq.start_worker()").unwrap();
    let expected = [
        "table_missing",
        "table_changed",
        "index_missing",
        "sequence_missing",
        "tick_failed",
        "maintenance_failed",
    ];
    let all = |found: &[String]| {
        expected.iter().all(|code| {
            found.iter().any(|line| line.starts_with("broken|") && line.ends_with(code))
        })
    };
    assert!(wait_until(PATIENCE, || all(&findings(&mut client))), "{:?}", findings(&mut client));
    assert!(!findings(&mut client).iter().any(|line| line.starts_with("q|critical")));

    // The other queue is ticked and rotated as before.
    let cur = "select count(distinct queue_cur_table) from pgq.queue where queue_name = 'q'";
    assert_eq!(number(&mut client, cur), 1);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    assert_eq!(consume(&mut client, "c", 1), ["data"]);
    let switches = |client: &mut Client| {
        number(client, "select queue_switch_step1 from pgq.queue where queue_name = 'q'")
    };
    let before = switches(&mut client);
    assert!(wait_until(PATIENCE, || {
        // The consumer has to keep up, or it holds the rotation back.
        if let Some(batch) = super::wait_batch(&mut client, "c", "100 ms") {
            client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        }
        switches(&mut client) > before
    }));

    // Repaired, it recovers, and says so.
    client
        .batch_execute(
            "alter table pgq.gone rename to event_1_1; alter sequence pgq.gone_seq rename to event_1_tick_seq",
        )
        .unwrap();
    assert!(wait_until(PATIENCE, || !findings(&mut client)
        .iter()
        .any(|line| line.ends_with("tick_failed"))));
    let log = cluster.log();
    assert!(
        log.contains("tick of \"broken\" failed") && log.contains("tick of \"broken\" works again"),
        "{log}"
    );
    assert_eq!(log.matches("tick of \"broken\" failed").count(), 1, "told once:\n{log}");
}

#[test]
fn a_lock_that_keeps_a_queue_from_ticking_is_named() {
    let cluster =
        preloaded().set("pgq.ticker_period", "50ms").set("pgq.worker_lock_timeout", "50ms").start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    client
        .batch_execute(
            "select pgq.create_queue('q'); update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
        )
        .unwrap();
    worker_pid(&mut client);
    let mut locker = cluster.connect("postgres");
    locker.batch_execute("begin; select pgq._lock('ticks', 1)").unwrap();
    assert!(wait_until(PATIENCE, || findings(&mut client)
        .contains(&"q|critical|tick_failed".to_owned())));
    assert!(text(&mut client, "tick_failed").contains("55P03"));
    locker.batch_execute("rollback").unwrap();
    assert!(wait_until(PATIENCE, || findings(&mut client).is_empty()));
}

#[test]
fn who_holds_back_the_rotation_is_named() {
    let cluster =
        preloaded().set("pgq.ticker_period", "20ms").set("pgq.maint_period", "20ms").start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    client
        .batch_execute(
            "select pgq.create_queue('q'); select pgq.register_consumer('q', 'slow');
             update pgq.queue set queue_rotation_period = '50 ms', queue_ticker_max_lag = '0',
                 queue_ticker_idle_period = '0'",
        )
        .unwrap();
    let catch_up = |client: &mut Client| {
        while let Some(batch) = super::wait_batch(client, "slow", "0") {
            client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        }
    };
    let mut writer = cluster.connect("postgres");
    let has = |client: &mut Client, code: &str| {
        findings(client).iter().any(|line| line == &format!("q|warning|{code}"))
    };

    assert!(wait_until(PATIENCE, || has(&mut client, "rotation_held_by_consumer")));
    assert!(text(&mut client, "rotation_held_by_consumer").contains("\"slow\""));

    writer.batch_execute("begin; select txid_current()").unwrap();
    let pid = number(&mut writer, "select pg_backend_pid()");
    assert!(wait_until(PATIENCE, || {
        catch_up(&mut client);
        has(&mut client, "rotation_held_by_transaction")
            && text(&mut client, "rotation_held_by_transaction")
                .contains(&format!("process {pid} "))
    }));
    writer.batch_execute("prepare transaction 'left behind'").unwrap();
    assert!(wait_until(PATIENCE, || {
        catch_up(&mut client);
        has(&mut client, "rotation_held_by_transaction")
            && text(&mut client, "rotation_held_by_transaction").contains("'left behind'")
    }));
    writer.batch_execute("rollback prepared 'left behind'").unwrap();
    let before = number(&mut client, "select rotations from pgq.worker_status()");
    assert!(wait_until(PATIENCE, || {
        catch_up(&mut client);
        number(&mut client, "select rotations from pgq.worker_status()") > before
    }));
}

#[test]
fn lagging_consumers_and_stuck_retries_are_named() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    quiet_queue(&mut client, &["c", "lazy"]);
    worker_pid(&mut client);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    let batch = wait_until(PATIENCE, || {
        let Some(batch) = super::wait_batch(&mut client, "c", "1 s") else { return false };
        client.execute("select pgq.batch_retry($1, 0)", &[&batch]).unwrap();
        client.execute("update pgq.queue set queue_disable_insert = true", &[]).unwrap();
        client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        true
    });
    assert!(batch);
    client.batch_execute("set pgq.health_consumer_lag = 0").unwrap();
    assert!(wait_until(PATIENCE, || {
        let found = findings(&mut client);
        found.contains(&"q|warning|consumer_lag".to_owned())
            && found.contains(&"q|warning|retry_backlog".to_owned())
    }));
    assert!(text(&mut client, "consumer_lag").contains("\"lazy\""));
    client.execute("select pgq.pause_queue('q')", &[]).unwrap();
    assert!(findings(&mut client).contains(&"q|info|paused".to_owned()));
    client.batch_execute("set pgq.health_table_size = 0").unwrap();
    assert!(findings(&mut client).contains(&"q|warning|tables_large".to_owned()));
}

#[test]
fn metrics_name_everything_once() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    quiet_queue(&mut client, &["c"]);
    worker_pid(&mut client);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    assert_eq!(consume(&mut client, "c", 1), ["data"]);
    assert_eq!(
        number(&mut client, "select count(*) - count(distinct (name, labels)) from pgq.metrics()"),
        0
    );
    let value = |client: &mut Client, name: &str, labels: &str| -> f64 {
        client
            .query_one(
                &format!(
                    "select value from pgq.metrics() where name = '{name}' and labels = '{labels}'"
                ),
                &[],
            )
            .unwrap()
            .get(0)
    };
    let queue = r#"{"queue": "q"}"#;
    let consumer = r#"{"queue": "q", "consumer": "c"}"#;
    assert_eq!(value(&mut client, "pgq_queue_events_total", queue), 1.0);
    assert_eq!(value(&mut client, "pgq_queue_unticked_events", queue), 0.0);
    assert_eq!(value(&mut client, "pgq_consumer_pending_events", consumer), 0.0);
    assert_eq!(value(&mut client, "pgq_worker_up", "{}"), 1.0);
    assert!(value(&mut client, "pgq_worker_demand_ticks_total", "{}") >= 1.0);
    assert!(value(&mut client, "pgq_queue_table_bytes", queue) > 0.0);
}
