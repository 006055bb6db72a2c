//! Messages that are sent again and again: one for each time, whatever the clock and the server do.

use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{Cluster, PATIENCE, Stop, wait_until};
use postgres::Client;

use super::queue;

fn send_due(client: &mut Client) -> String {
    row(client, "select pgq.maint_schedules()")
}

/// As if so much time had passed.
fn pass(client: &mut Client, time: &str) {
    run(
        client,
        &format!(
            "update pgq.schedule set sc_next_run = sc_next_run - interval '{time}',
                                     sc_from = sc_from - interval '{time}', sc_again = null"
        ),
    );
}

#[test]
fn a_message_is_sent_for_each_time() {
    let (_database, mut client) = queue();
    let made = "select pgq.schedule('report', 'q', 'daily', 'payload', every => '20 seconds',
                                    timezone => 'UTC') > now()";
    assert_eq!(row(&mut client, made), "t");
    assert_eq!(send_due(&mut client), "0");
    pass(&mut client, "50 seconds");
    let due = "select string_agg(func_name, ' ') from pgq.maint_operations() where func_name like '%sched%'";
    assert_eq!(row(&mut client, due), "pgq.maint_schedules");
    let mut sent = 0;
    while send_due(&mut client) != "0" {
        sent += 1;
    }
    assert_eq!(sent, 2, "nothing is missed yet");
    assert_eq!(row(&mut client, due), "∅");
    assert_eq!(
        rows(
            &mut client,
            "select e.ev_type, e.ev_data, e.ev_extra1, e.ev_extra2::jsonb ->> 'schedule',
                    (e.ev_extra2::jsonb ->> 'scheduled_at')::timestamptz
                        = s.sc_last_run - (2 - e.ev_id) * interval '20 seconds',
                    s.sc_next_run - s.sc_last_run, s.sc_next_run > now()
               from pgq.event_1 e, pgq.schedule s order by e.ev_id"
        ),
        ["daily|payload|∅|report|t|00:00:20|t", "daily|payload|∅|report|t|00:00:20|t"]
    );
    assert_eq!(row(&mut client, "select pgq.unschedule('report')"), "t");
    assert_eq!(row(&mut client, "select pgq.unschedule('report')"), "f");
}

#[test]
fn what_was_missed_is_skipped_or_sent_once() {
    for (missed, sent) in [("skip", "0"), ("once", "1")] {
        let (_database, mut client) = queue();
        run(
            &mut client,
            &format!(
                "select pgq.schedule('s', 'q', 't', 'x', cron => '*/7 * * * *', missed => '{missed}')"
            ),
        );
        run(&mut client, "update pgq.schedule set sc_next_run = now() - interval '3 days'");
        assert_eq!(send_due(&mut client), sent);
        assert_eq!(send_due(&mut client), "0");
        let next = "select sc_next_run between now() and now() + interval '8 minutes',
                           sc_last_run is not null from pgq.schedule";
        let has_run = if missed == "once" { "t" } else { "f" };
        assert_eq!(row(&mut client, next), format!("t|{has_run}"));
    }
}

#[test]
fn times_are_those_of_the_zone() {
    let (_database, mut client) = queue();
    run(&mut client, "set timezone = 'UTC'");
    for (call, times) in [
        // Clocks go from 2:00 to 3:00 on 2026-03-29, and back on 2026-10-25.
        (
            "cron('30 2 * * *', 'Europe/Berlin', '2026-03-28')",
            "03-28 01:30, 03-29 01:00, 03-30 00:30",
        ),
        (
            "cron('30 2 * * *', 'Europe/Berlin', '2026-10-24')",
            "10-24 00:30, 10-25 00:30, 10-26 01:30",
        ),
        (
            "cron('0 */1 * * *', 'Europe/Berlin', '2026-10-24 23:30')",
            "10-25 00:00, 10-25 01:00, 10-25 02:00",
        ),
        ("cron('0 12 29 feb *', 'UTC', '2026-01-01')", "02-29 12:00, 02-29 12:00, 02-29 12:00"),
        (
            "cron('15 10 * * mon-fri', 'Asia/Kolkata', '2026-11-27')",
            "11-27 04:45, 11-30 04:45, 12-01 04:45",
        ),
        (
            "every('2026-03-27 09:30', '1 day', 'Europe/Berlin', '2026-03-27 10:00')",
            "03-28 09:30, 03-29 08:30, 03-30 08:30",
        ),
        (
            "every('2026-03-28 23:30', '1 hour', 'Europe/Berlin', '2026-03-29')",
            "03-29 00:30, 03-29 01:30, 03-29 02:30",
        ),
        (
            "every('2024-02-29', '1 year', 'UTC', '2026-12-01')",
            "02-28 00:00, 02-29 00:00, 02-28 00:00",
        ),
        (
            "every('2026-01-31', '1 month', 'UTC', '2026-02-01')",
            "02-28 00:00, 03-31 00:00, 04-30 00:00",
        ),
        (
            "every('2000-01-01', '1 second', 'UTC', '2026-01-01')",
            "01-01 00:00, 01-01 00:00, 01-01 00:00",
        ),
    ] {
        let (head, after) = call.rsplit_once(", '").unwrap();
        let query = format!(
            "with recursive t (n, t) as (
                 select 0, '{}'::timestamptz
                  union all
                 select n + 1, pgq._next_{head}, t) from t where n < 3)
             select string_agg(to_char(t, 'MM-DD HH24:MI'), ', ' order by n) from t where n > 0",
            after.trim_end_matches("')")
        );
        assert_eq!(row(&mut client, &query), times, "{call}");
    }
}

#[test]
fn what_makes_no_schedule_is_refused() {
    let (_database, mut client) = queue();
    for (arguments, error) in [
        ("null, 'q', 't', 'x', '1 h'", "ERROR 22004: name must not be NULL"),
        ("'s', 'q', 't', 'x'", "ERROR 22023: schedule \"s\" needs every or cron, and not both"),
        (
            "'s', 'q', 't', 'x', '1 h', '* * * * *'",
            "ERROR 22023: schedule \"s\" needs every or cron, and not both",
        ),
        ("'s', 'q', 't', 'x', '0'", "ERROR 22023: every must be at least a second, not 00:00:00"),
        (
            "'s', 'q', 't', 'x', '1 h', missed => 'all'",
            "ERROR 22023: missed must be skip or once, not all",
        ),
        ("'s', 'nowhere', 't', 'x', '1 h'", "ERROR 42704: No such event queue"),
        (
            "'s', 'q', 't', 'x', '1 h', timezone => 'Nowhere'",
            "ERROR 22023: time zone \"Nowhere\" not recognized",
        ),
        (
            "'s', 'q', 't', 'x', cron => '0 0 30 2 *'",
            "ERROR 22023: bad cron expression \"0 0 30 2 *\"",
        ),
        ("'s', 'q', 't', 'x', cron => '* * * * * *'", "ERROR 22023: bad cron expression"),
        ("'s', 'q', 't', 'x', cron => 'often'", "ERROR 22023: bad cron expression \"often\""),
    ] {
        let answer = outcome(&mut client, &format!("select pgq.schedule({arguments})"));
        assert!(answer.starts_with(error), "{arguments}: {answer}");
    }
    assert_eq!(row(&mut client, "select count(*) from pgq.schedule"), "0");
}

/// Two who send at once send one, and what is rolled back is sent by the next.
#[test]
fn one_of_two_sends() {
    let (database, mut client) = queue();
    run(&mut client, "select pgq.schedule('s', 'q', 't', 'x', every => '1 hour')");
    pass(&mut client, "1 hour");
    let mut other = database.connect();
    run(&mut other, "begin");
    assert_eq!(send_due(&mut other), "1");
    assert_eq!(send_due(&mut client), "0");
    run(&mut other, "rollback");
    assert_eq!(send_due(&mut client), "1");
    assert_eq!(row(&mut client, "select count(*) from pgq.event_1"), "1");
}

#[test]
fn a_queue_that_takes_none_stops_no_other_schedule() {
    let (_database, mut client) = queue();
    run(
        &mut client,
        "select pgq.create_queue('closed');
         select pgq.schedule(q, q, 't', 'x', every => '1 hour') from unnest('{q,closed}'::text[]) q;
         update pgq.queue set queue_disable_insert = true where queue_name = 'closed'",
    );
    pass(&mut client, "1 hour");
    assert_eq!(send_due(&mut client), "1");
    assert_eq!(
        row(&mut client, "select sc_name, sc_error from pgq.schedule where sc_error is not null"),
        "closed|Insert into queue disallowed"
    );
    assert_eq!(
        rows(
            &mut client,
            "select queue_name, finding from pgq.queue_health() where code = 'schedule_failed'"
        ),
        [r#"closed|a message of schedule "closed" cannot be sent: Insert into queue disallowed"#]
    );
    assert_eq!(send_due(&mut client), "0");
    run(&mut client, "update pgq.queue set queue_disable_insert = false");
    assert!(wait_until(PATIENCE, || send_due(&mut client) == "1"));
    assert_eq!(
        outcome(&mut client, "select pgq.drop_queue('closed')"),
        "ERROR 55000: queue \"closed\" has schedules: \"closed\""
    );
    assert_eq!(row(&mut client, "select pgq.drop_queue('closed', true)"), "1");
    assert_eq!(rows(&mut client, "select sc_name from pgq.schedule"), ["q"]);
}

/// By the worker, over crashes.
#[test]
fn each_time_has_one_message_when_the_server_is_killed() {
    let mut cluster = Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("pgq.discovery_period", "200ms")
        .start();
    let mut client = cluster.connect("postgres");
    run(
        &mut client,
        "create extension pgq; select pgq.create_queue('q');
         select pgq.schedule('s', 'q', 't', 'x', every => '1 second')",
    );
    let count = "select count(*) from pgq.event_1";
    for goal in [2, 4, 6] {
        let goes_on =
            wait_until(PATIENCE, || row(&mut client, count).parse::<u64>().unwrap() >= goal);
        assert!(goes_on, "{goal} were not reached");
        cluster.stop(Stop::Kill);
        cluster.start();
        client = cluster.connect("postgres");
    }
    let times = "select count(*) - count(distinct t),
                        extract(epoch from max(t) - min(t))::integer + 1 - count(*)
                   from (select (ev_extra2::jsonb ->> 'scheduled_at')::timestamptz
                           from pgq.event_1) e (t)";
    assert_eq!(row(&mut client, times), "0|0", "none is there twice, and none is missing");
}
