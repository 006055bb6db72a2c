//! A database in which all is well has no findings, whatever its age and whatever is in it; dead
//! letters are no illness; and no remedy makes somebody throw away what he wants to keep.

use std::fs;
use std::path::PathBuf;

use pgq_tests::{
    Cluster, ClusterBuilder, PATIENCE, Stop, scratch_database, scratch_database_with_worker,
    wait_until,
};
use postgres::Client;

use super::{clock, number, preloaded, quiet_queue, worker_pid};

/// Findings as `queue|severity|code|finding|remedy`.
fn findings(client: &mut Client) -> Vec<String> {
    let sql = "select concat_ws('|', queue_name, severity, code, finding, remedy) from pgq.queue_health()";
    client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn nothing(client: &mut Client, when: &str) {
    assert_eq!(findings(client), Vec::<String>::new(), "{when}");
}

/// A server whose clock goes as far ahead as the returned file's setter says.
fn with_clock(builder: ClusterBuilder) -> (Cluster, impl Fn(i64)) {
    let mut cluster = builder.create();
    let file: PathBuf = cluster.dir().join("clock");
    let set = move |seconds: i64| {
        let next = file.with_extension("next");
        fs::write(&next, seconds.to_string()).unwrap();
        fs::rename(&next, &file).unwrap();
    };
    set(0);
    let library = clock::library(cluster.dir());
    cluster.set_env("LD_PRELOAD", library.display());
    cluster.set_env("PGQ_CLOCK", cluster.dir().join("clock").display());
    cluster.start();
    (cluster, set)
}

/// A queue with a consumer, one without, a dead-letter queue without letters, one that is paused;
/// none has ever had an event.
const FIRST_DAY: &str = "create extension pgq;
    select pgq.create_queue('q'); select pgq.register_consumer('q', 'c');
    select pgq.create_queue('nobody reads');
    select pgq.create_queue('q.dead'); select pgq.register_consumer('q.dead', 'dead_letters')";

#[test]
fn new_and_empty_queues_are_no_alarm_at_any_age() {
    // Rotation may take two rounds, and they are not what is waited for here.
    let (cluster, set_clock) = with_clock(preloaded().set("pgq.maint_period", "1s"));
    let mut client = cluster.connect("postgres");
    client.batch_execute(FIRST_DAY).unwrap();
    worker_pid(&mut client);
    nothing(&mut client, "at once");
    // Faster than the worker lays idle ticks; up to what it may leave a queue without a tick.
    for age in [20, 40, 60] {
        set_clock(age);
        nothing(&mut client, &format!("after {age} s"));
    }
    // Days go by: ticks come when they are due, tables are rotated, and the consumer of `q` takes
    // what there is.
    let mut consumer = cluster.connect("postgres");
    for hours in [2, 5, 30, 60] {
        set_clock(hours * 3600);
        let mut found = Vec::new();
        let is_well = wait_until(PATIENCE, || {
            if let Some(batch) = super::wait_batch(&mut consumer, "c", "0") {
                consumer.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
            }
            found = findings(&mut client);
            found.is_empty()
        });
        assert!(is_well, "after {hours} hours: {found:#?}");
    }
    assert!(number(&mut client, "select rotations from pgq.worker_status()") > 0);

    // The alarm itself works: without a worker no idle tick comes, and without a tick a queue is no
    // queue.
    client.batch_execute("select pgq.stop_worker()").unwrap();
    let stopped = "select count(*) from pgq.worker_status() where state = 'stopped'";
    assert!(wait_until(PATIENCE, || number(&mut client, stopped) == 1));
    set_clock(61 * 3600);
    let found = findings(&mut client);
    for queue in ["q", "nobody reads", "q.dead"] {
        let expected = format!("{queue}|critical|not_ticking|");
        assert!(found.iter().any(|line| line.starts_with(&expected)), "{found:#?}");
    }
}

#[test]
fn a_worker_that_looks_seldom_is_no_alarm() {
    let (cluster, set_clock) = with_clock(preloaded().set("pgq.ticker_period", "1h"));
    let mut client = cluster.connect("postgres");
    client.batch_execute(FIRST_DAY).unwrap();
    worker_pid(&mut client);
    // It does nothing more, as between two looks.
    client.batch_execute("select pgq.stop_worker()").unwrap();
    let stopped = "select count(*) from pgq.worker_status() where state = 'stopped'";
    assert!(wait_until(PATIENCE, || number(&mut client, stopped) == 1));
    let silent = |client: &mut Client| {
        let found = findings(client);
        found.iter().filter(|line| line.contains("|not_ticking|")).count()
    };
    set_clock(3 * 3600);
    assert_eq!(silent(&mut client), 0, "{:#?}", findings(&mut client));
    set_clock(5 * 3600);
    assert_eq!(silent(&mut client), 3, "{:#?}", findings(&mut client));
}

#[test]
fn an_event_of_a_moment_ago_is_no_alarm_in_an_idle_queue() {
    let (cluster, set_clock) = with_clock(preloaded());
    let mut client = cluster.connect("postgres");
    client.batch_execute(FIRST_DAY).unwrap();
    worker_pid(&mut client);
    client
        .batch_execute(
            "update pgq.queue set queue_ticker_max_lag = '10 min',
                                  queue_ticker_idle_period = '1 day'",
        )
        .unwrap();
    for queue in ["q", "nobody reads"] {
        client.execute("select pgq.insert_event($1, 't', 'd')", &[&queue]).unwrap();
        client.execute("select pgq.ticker($1) from pgq.force_tick($1)", &[&queue]).unwrap();
    }
    client.batch_execute("select pgq.stop_worker()").unwrap();
    let stopped = "select count(*) from pgq.worker_status() where state = 'stopped'";
    assert!(wait_until(PATIENCE, || number(&mut client, stopped) == 1));
    let silent = |client: &mut Client| -> Vec<String> {
        findings(client).into_iter().filter(|line| line.contains("|not_ticking|")).collect()
    };
    let none = Vec::<String>::new();
    set_clock(3600);
    assert_eq!(silent(&mut client), none, "idle");
    // One that comes again, or comes from elsewhere, is older than its time here.
    client
        .batch_execute(
            "begin; select pgq.insert_event('nobody reads', 't', 'not'); rollback;
             select pgq.insert_event_raw('q', null, now() - interval '2 hours', null, null, 't',
                                         'again', null, null, null, null)",
        )
        .unwrap();
    assert_eq!(silent(&mut client), none, "an old event has just come");
    client.batch_execute("select pgq.insert_event('q', 't', 'd')").unwrap();
    assert_eq!(silent(&mut client), none, "an event has just come");
    set_clock(3600 + 300);
    assert_eq!(silent(&mut client), none, "it may wait so long");
    set_clock(3600 + 1200);
    let found = silent(&mut client);
    assert!(matches!(&found[..], [one] if one.starts_with("q|critical|not_ticking|")), "{found:?}");
}

#[test]
fn what_cannot_be_told_of_waiting_events_is_no_silence() {
    let database = scratch_database();
    let (mut session, mut other) = (database.connect(), database.connect());
    session
        .batch_execute("select pgq.create_queue('q'); select pgq.insert_event('q', 't', 'd')")
        .unwrap();
    session.batch_execute("select pgq.ticker('q') from pgq.force_tick('q')").unwrap();
    let mut told = |when: &str, expected: &str| {
        let sql = "select case pgq._waits_since(q.queue_id)
                              when t.tick_time then 'the tick'
                              else 'an event'
                          end
                     from pgq.queue q
                     join pgq.tick t on t.tick_queue = q.queue_id
                    where pgq._waits_since(q.queue_id) is not null
                    order by t.tick_id desc
                    limit 1";
        let rows = session.query(sql, &[]).unwrap();
        let answer = rows.first().map_or("nothing", |row| row.get(0));
        assert_eq!(answer, expected, "{when}");
    };
    told("no event", "nothing");
    let again = "select pgq.insert_event_raw('q', null, now() - interval '1 hour', null, null, 't',
                                             'again', null, null, null, null)
                   from generate_series(1, $1)";
    other.execute(again, &[&999]).unwrap();
    told("some came again", "nothing");
    other.execute(again, &[&1]).unwrap();
    told("too many came again to look behind them", "the tick");
    let mut holder = other.transaction().unwrap();
    holder.batch_execute("lock table only pgq.event_1_0 in access exclusive mode").unwrap();
    told("somebody holds a table", "the tick");
    holder.rollback().unwrap();
    other.batch_execute("select pgq.ticker('q') from pgq.force_tick('q')").unwrap();
    told("another tick", "nothing");
    other.batch_execute("select pgq.insert_event('q', 't', 'd')").unwrap();
    told("an event", "an event");
}

#[test]
fn a_server_that_was_down_for_hours_starts_without_an_alarm() {
    // As long as it takes: a worker that has not come after this time is an alarm.
    let (mut cluster, set_clock) = with_clock(preloaded().set("pgq.discovery_period", "2min"));
    let mut client = cluster.connect("postgres");
    client.batch_execute(FIRST_DAY).unwrap();
    worker_pid(&mut client);
    let ticks = "select min(n) from (select count(*) as n from pgq.tick group by tick_queue) t";
    client.execute("select pgq.insert_event('q', 't', 'd')", &[]).unwrap();
    client.execute("select pgq.ticker('q') from pgq.force_tick('q')", &[]).unwrap();
    assert!(wait_until(PATIENCE, || number(&mut client, ticks) >= 2));
    drop(client);
    cluster.stop(Stop::Fast);
    set_clock(7 * 3600);
    cluster.start();
    let mut client = cluster.connect("postgres");
    let running = "select count(*) from pgq.worker_status() where state = 'running'";
    nothing(&mut client, "at once");
    assert!(wait_until(PATIENCE, || {
        nothing(&mut client, "while the worker is on its way");
        number(&mut client, running) == 1
    }));
    nothing(&mut client, "when it is there");
}

/// One that never comes, since the server may have no such processes.
#[test]
fn a_launcher_that_has_not_come_yet_is_no_alarm_and_later_is() {
    let builder = preloaded().set("max_worker_processes", 0).set("pgq.discovery_period", "2min");
    let (cluster, set_clock) = with_clock(builder);
    let mut client = cluster.connect("postgres");
    client.batch_execute(FIRST_DAY).unwrap();
    nothing(&mut client, "at once");
    set_clock(3600);
    let found = findings(&mut client);
    let told = "warning|worker_not_running|no worker runs: the launcher does not either|";
    assert!(found.iter().any(|line| line.starts_with(told)), "{found:#?}");
}

#[test]
fn a_paused_queue_is_paused_and_nothing_else() {
    let (cluster, set_clock) = with_clock(preloaded());
    let mut client = cluster.connect("postgres");
    client.batch_execute(FIRST_DAY).unwrap();
    worker_pid(&mut client);
    client.batch_execute("select pgq.pause_queue('q')").unwrap();
    let mut consumer = cluster.connect("postgres");
    while let Some(batch) = super::wait_batch(&mut consumer, "c", "0") {
        consumer.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    }
    set_clock(30 * 3600);
    let mut found = Vec::new();
    let is_so = wait_until(PATIENCE, || {
        found = findings(&mut client);
        found.len() == 1
    });
    assert!(is_so && found[0].starts_with("q|info|paused|"), "{found:#?}");
}

#[test]
fn dead_letters_are_counted_and_are_no_alarm() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    quiet_queue(&mut client, &["c"]);
    client
        .batch_execute(
            "select pgq.create_queue('q.dead');
             select pgq.register_consumer('q.dead', 'dead_letters');
             select pgq.register_consumer('q.dead', 'alarm');
             set pgq.health_consumer_lag = '1 h'",
        )
        .unwrap();
    worker_pid(&mut client);
    let metric = |client: &mut Client| {
        let sql = "select value::bigint from pgq.metrics() where name = 'pgq_dead_letters' and labels = '{\"queue\": \"q.dead\"}'";
        client.query_one(sql, &[]).unwrap().get::<_, i64>(0)
    };
    nothing(&mut client, "no letters");
    assert_eq!(metric(&mut client), 0);

    // One that is under way is none yet. Sequences have gaps, which are no letters.
    let mut writer = database.connect();
    writer.batch_execute("begin; select pgq.insert_event('q.dead', 't', 'late')").unwrap();
    client
        .batch_execute(
            "select pgq.insert_event('q.dead', 't', n::text) from generate_series(1, 3) n;
             select pgq.force_tick('q.dead');
             select pgq.ticker('q.dead');
             update pgq.event_2 set ev_time = now() - interval '25 hours' where ev_data = '2'",
        )
        .unwrap();
    let found = findings(&mut client);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("q.dead|info|dead_letters|3 dead letters wait "), "{found:#?}");
    assert!(found[0].contains("oldest for 1 day 01:0"), "{found:#?}");
    assert!(found[0].contains("pgq dead list q.dead"), "{found:#?}");
    assert_eq!(metric(&mut client), 3);
    // Another subscriber's retry is not another letter.
    client
        .batch_execute(
            "select pgq.event_retry_raw('q.dead', 'alarm', now(), 9, now(), 1, 't', 'd', null, null, null, null);
             select pgq.maint_retry_events()",
        )
        .unwrap();
    writer.batch_execute("commit").unwrap();
    assert_eq!(metric(&mut client), 4);

    // Its holder lags as long as it holds; that is what it is for, and nothing for an alarm on lag.
    client.batch_execute("set pgq.health_consumer_lag = 0").unwrap();
    client.batch_execute("select pgq.ticker(q) from unnest(array['q', 'q.dead']) q").unwrap();
    let found = findings(&mut client);
    assert!(!found.iter().any(|line| line.contains("\"dead_letters\"")), "{found:#?}");
    assert!(found.iter().any(|line| line.contains("consumer \"alarm\" lags")), "{found:#?}");
    let holders = "select count(*) from pgq.metrics() where labels ->> 'consumer' = 'dead_letters'";
    assert_eq!(number(&mut client, holders), 0);

    // Somebody decides about them.
    client.batch_execute("select pgq.force_tick('q.dead')").unwrap();
    client.batch_execute("select pgq.ticker('q.dead')").unwrap();
    client
        .batch_execute("update pgq.subscription s set sub_last_tick = (select max(tick_id) from pgq.tick where tick_queue = sub_queue)")
        .unwrap();
    assert_eq!(metric(&mut client), 0);
}

#[test]
fn damage_to_a_dead_letter_queue_stops_neither_health_nor_metrics() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    quiet_queue(&mut client, &[]);
    client
        .batch_execute(
            "select pgq.register_consumer('q', 'dead_letters');
             select pgq.create_queue('r'); select pgq.register_consumer('r', 'dead_letters');
             select pgq.insert_event('r', 't', 'd')",
        )
        .unwrap();
    let letters = "select count(*) from pgq.metrics() where name = 'pgq_dead_letters'";
    assert_eq!(number(&mut client, letters), 2);
    client.batch_execute("alter table pgq.event_1_0 no inherit pgq.event_1").unwrap();
    assert_eq!(number(&mut client, letters), 1);
    let counted =
        "select count(*) from pgq.queue_health() where code = 'dead_letters' and queue_name = 'r'";
    assert_eq!(number(&mut client, counted), 1);
}

#[test]
fn no_remedy_begins_with_giving_up_events() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    quiet_queue(&mut client, &["lazy", "busy", "lost"]);
    worker_pid(&mut client);
    client.batch_execute("select pgq.insert_event('q', 't', 'd')").unwrap();
    client.batch_execute("select pgq.force_tick('q')").unwrap();
    client.batch_execute("select pgq.ticker('q')").unwrap();
    client.batch_execute("select pgq.next_batch('q', 'busy')").unwrap();
    client
        .batch_execute(
            "update pgq.subscription set sub_last_tick = 1000
              where sub_consumer = (select co_id from pgq.consumer where co_name = 'lost');
             update pgq.queue set queue_switch_time = now(), queue_switch_step2 = txid_current(),
                    queue_rotation_period = '0';
             set pgq.health_consumer_lag = 0",
        )
        .unwrap();
    let sql = "select code, remedy from pgq.queue_health() where remedy ~ 'unregister|register_consumer_at|drop'";
    let advice: Vec<(String, String)> =
        client.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    for code in ["consumer_lag", "rotation_held_by_consumer", "position_lost"] {
        assert!(advice.iter().any(|(found, _)| found == code), "{code}: {advice:#?}");
    }
    for (code, remedy) in advice {
        let harmless = ["Start it", "See what it does", "Its next events are gone"];
        assert!(harmless.iter().any(|start| remedy.starts_with(start)), "{code}: {remedy}");
        assert!(remedy.contains("gives up all") || remedy.contains("are gone"), "{code}: {remedy}");
    }
}
