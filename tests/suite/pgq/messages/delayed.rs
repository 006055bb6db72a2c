//! Messages that are delivered later: at their time, in that order, once, and not if cancelled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{Cluster, PATIENCE, Random, Stop, wait_until};
use postgres::Client;

use super::{drain, numbers, queue, receive, send, tick};

/// Send a message that is due after so many seconds; its id.
fn send_after(client: &mut Client, payload: &str, seconds: i32) -> String {
    row(
        client,
        &format!(
            "select pgq.send('q', 't', '{payload}', 'key', '{{\"h\": 1}}',
                             deliver_at => now() + interval '{seconds} s')"
        ),
    )
}

/// As if so many seconds had passed.
fn pass(client: &mut Client, seconds: i32) {
    run(
        client,
        &format!(
            "update pgq.delayed
                set dl_due = dl_due - interval '{seconds} s', dl_txid = txid_current()
              where pgq._undelivered(dl_due, dl_queue, dl_id, dl_txid, pgq._delayed_state())"
        ),
    );
}

fn deliver(client: &mut Client) -> String {
    row(client, "select pgq.maint_delayed()")
}

#[test]
fn a_message_is_there_at_its_time_with_the_id_it_had() {
    let (_database, mut client) = queue();
    assert_eq!(send_after(&mut client, "later", 3600), "1");
    send(&mut client, ["now"]);
    assert_eq!(send_after(&mut client, "over", -1), "3");
    assert_eq!(deliver(&mut client), "0");
    tick(&mut client);
    assert_eq!(drain(&mut client, "c", 10).1, ["now", "over"]);
    pass(&mut client, 3600);
    assert_eq!(deliver(&mut client), "1");
    assert_eq!(deliver(&mut client), "0");
    tick(&mut client);
    assert_eq!(
        rows(
            &mut client,
            "select msg_id, type, payload, key, headers, retry_count, created_at < now()
               from pgq.receive('q', 'c')"
        ),
        [r#"1|t|later|key|{"h": 1}|0|t"#]
    );
}

#[test]
fn messages_come_in_the_order_of_their_times() {
    let (_database, mut client) = queue();
    for (payload, seconds) in [("third", 30), ("first", 10), ("fourth", 100_000), ("second", 20)] {
        send_after(&mut client, payload, seconds);
    }
    let mut got = Vec::new();
    for _ in 0..3 {
        pass(&mut client, 10);
        assert_eq!(deliver(&mut client), "1");
        tick(&mut client);
        got.extend(drain(&mut client, "c", 10).1);
    }
    assert_eq!(got, ["first", "second", "third"]);
    pass(&mut client, 100_000);
    assert_eq!(deliver(&mut client), "1");
}

/// A transaction that commits after the time of its message is over must not lose it.
#[test]
fn what_is_committed_late_is_delivered_then() {
    let (database, mut client) = queue();
    let mut slow = database.connect();
    run(&mut slow, "begin");
    send_after(&mut slow, "slow", 1);
    send_after(&mut client, "fast", 2);
    pass(&mut client, 10);
    assert_eq!(deliver(&mut client), "1");
    for n in 0..3 {
        send_after(&mut client, &n.to_string(), 1);
        pass(&mut client, 10);
        assert_eq!(deliver(&mut client), "1");
    }
    pass(&mut slow, 10);
    run(&mut slow, "commit");
    assert_eq!(deliver(&mut client), "1");
    assert_eq!(deliver(&mut client), "0");
    tick(&mut client);
    let mut got = drain(&mut client, "c", 10).1;
    got.sort_unstable();
    assert_eq!(got, ["0", "1", "2", "fast", "slow"]);
}

/// However many there are, a call delivers about a thousand of them, and ends.
#[test]
fn many_that_are_committed_late_are_delivered_in_parts() {
    let (database, mut client) = queue();
    let mut slow = database.connect();
    run(
        &mut slow,
        "begin; select pgq.send('q', 't', n::text, deliver_at => now() + interval '1 s')
                  from generate_series(1, 3499) n",
    );
    send_after(&mut client, "0", 2);
    pass(&mut client, 10);
    assert_eq!(deliver(&mut client), "1");
    pass(&mut slow, 10);
    run(&mut slow, "commit");
    let mut moved = Vec::new();
    while moved.last().map(String::as_str) != Some("0") {
        moved.push(deliver(&mut client));
    }
    assert_eq!(moved, ["1000", "1000", "1000", "499", "0"]);
    tick(&mut client);
    let mut got: Vec<i32> =
        drain(&mut client, "c", 1000).1.iter().map(|text| text.parse().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, (0..3500).collect::<Vec<_>>());
}

/// Its own transaction's messages are delivered by the next one.
#[test]
fn who_sends_and_delivers_in_one_transaction_delivers_once() {
    let (_database, mut client) = queue();
    run(&mut client, "begin");
    send_after(&mut client, "mine", 1);
    pass(&mut client, 10);
    assert_eq!(deliver(&mut client), "0");
    run(&mut client, "commit");
    assert_eq!(deliver(&mut client), "1");
    assert_eq!(deliver(&mut client), "0");
}

#[test]
fn thousands_that_are_due_are_delivered_once_and_leave_nothing() {
    let (_database, mut client) = queue();
    run(
        &mut client,
        "select pgq.send('q', 't', n::text, deliver_at => now() + interval '1 minute')
           from generate_series(0, 2499) n",
    );
    // In the bucket that is to be emptied now.
    run(
        &mut client,
        "do $$ begin execute format('with old as (delete from pgq.delayed returning *)
            insert into pgq.%I
            select now() - interval ''1 hour'', dl_queue, dl_id, dl_txid, dl_time, dl_unique,
                   dl_type, dl_data, dl_extra1, dl_extra2
              from old', 'delayed_' || pgq._old_bucket(0, now())); end $$",
    );
    run(&mut client, "select pgq.maint_empty_buckets()");
    let mut moved = Vec::new();
    while moved.last().map(String::as_str) != Some("0") {
        moved.push(deliver(&mut client));
    }
    assert_eq!(moved, ["1000", "1000", "500", "0"]);
    run(&mut client, "select pgq.maint_empty_buckets()");
    assert_eq!(row(&mut client, "select count(*) from pgq.delayed"), "0");
    assert_eq!(row(&mut client, "select count(*) from pgq.delayed_left"), "0");
    tick(&mut client);
    assert_eq!(drain(&mut client, "c", 1000).1, numbers(0..2500));
}

#[test]
fn a_message_can_be_cancelled_until_it_is_delivered() {
    let (_database, mut client) = queue();
    let id = send_after(&mut client, "no", 60);
    let delivered = send_after(&mut client, "yes", 1);
    let cancel = |id: &str| format!("select pgq.cancel('q', {id})");
    assert_eq!(row(&mut client, &cancel(&id)), "t");
    assert_eq!(row(&mut client, &cancel(&id)), "f");
    pass(&mut client, 100);
    assert_eq!(deliver(&mut client), "1");
    assert_eq!(row(&mut client, &cancel(&delivered)), "f");
    send(&mut client, ["event"]);
    assert_eq!(row(&mut client, &cancel("3")), "f");
    for (call, error) in [
        ("cancel(null, 1)", "ERROR 22004: queue must not be NULL"),
        ("cancel('q', null)", "ERROR 22004: msg_id must not be NULL"),
        ("cancel('nowhere', 1)", "ERROR 42704: No such event queue"),
    ] {
        assert_eq!(outcome(&mut client, &format!("select pgq.{call}")), error);
    }
    run(&mut client, "begin isolation level repeatable read");
    assert!(outcome(&mut client, &cancel("1")).starts_with("ERROR 25001"));
    run(&mut client, "rollback");
    // The key of a message that is cancelled is free.
    let unique =
        "select pgq.send('q', 't', 'x', deliver_at => now() + interval '1 h', unique_key => 'k')";
    let first = row(&mut client, unique);
    assert_eq!(row(&mut client, unique), first);
    run(&mut client, &cancel(&first));
    assert_ne!(row(&mut client, unique), first);
}

/// Who cancels and leaves the transaction open holds up that message alone, and decides about it.
#[test]
fn who_is_cancelling_holds_up_nobody_else() {
    for (end, comes) in [("commit", false), ("rollback", true)] {
        let (database, mut client) = queue();
        let id = send_after(&mut client, "doubtful", 1);
        send_after(&mut client, "sure", 1);
        let mut open = database.connect();
        let cancel = format!("select pgq.cancel('q', {id})");
        run(&mut open, "begin");
        pass(&mut client, 10);
        assert_eq!(row(&mut open, &cancel), "t");
        assert_eq!(deliver(&mut client), "1");
        assert_eq!(deliver(&mut client), "0");
        run(&mut open, end);
        let settled = wait_until(PATIENCE, || {
            deliver(&mut client);
            row(&mut client, "select count(*) from pgq.delayed_left") == "0"
        });
        assert!(settled, "{end}");
        assert_eq!(row(&mut client, &cancel), "f");
        tick(&mut client);
        let got = drain(&mut client, "c", 10).1;
        assert_eq!(got.contains(&"doubtful".to_owned()), comes, "{end}: {got:?}");
        assert_eq!(got.len(), if comes { 2 } else { 1 });
    }
}

#[test]
fn two_who_cancel_wait_for_each_other() {
    let (database, mut client) = queue();
    let id = send_after(&mut client, "x", 60);
    let cancel = format!("select pgq.cancel('q', {id})");
    run(&mut client, "begin");
    assert_eq!(row(&mut client, &cancel), "t");
    let mut other = database.connect();
    let pid = row(&mut other, "select pg_backend_pid()");
    let answer = thread::scope(|scope| {
        let second = scope.spawn(|| outcome(&mut other, &cancel));
        let mut watcher = database.connect();
        let waits = format!("select count(*) from pg_locks where pid = {pid} and not granted");
        assert!(wait_until(PATIENCE, || row(&mut watcher, &waits) == "1"));
        assert_eq!(deliver(&mut watcher), "0");
        run(&mut client, "commit");
        second.join().unwrap()
    });
    assert_eq!(answer, "f");
}

/// A queue that takes no events keeps its own, and stops nobody else's.
#[test]
fn a_queue_that_takes_none_stops_no_other() {
    let (_database, mut client) = queue();
    run(&mut client, "select pgq.create_queue('other'), pgq.create_queue('gone')");
    let fill = "select pgq.send(q, 't', q, deliver_at => now() + interval '1 s')
                  from unnest('{q,other,gone}'::text[]) q";
    for (closed, open) in [
        (
            "update pgq.queue set queue_disable_insert = true where queue_name = 'other'",
            "update pgq.queue set queue_disable_insert = false where queue_name = 'other'",
        ),
        (
            "alter table pgq.event_2_0 add constraint no check (ev_data is null) not valid",
            "alter table pgq.event_2_0 drop constraint no",
        ),
        (
            "update pgq.queue set queue_per_tx_limit = 0 where queue_name = 'other'",
            "update pgq.queue set queue_per_tx_limit = 1 where queue_name = 'other'",
        ),
    ] {
        run(&mut client, fill);
        pass(&mut client, 10);
        run(&mut client, closed);
        assert_eq!(deliver(&mut client), "2", "{closed}");
        run(&mut client, "update pgq.delayed_left set df_due = df_due - interval '1 hour'");
        let said = "select queue_name, finding from pgq.queue_health() where code = 'delayed_held'";
        assert_eq!(
            rows(&mut client, said),
            ["other|1 delayed messages wait, for the queue does not take them"]
        );
        assert_eq!(deliver(&mut client), "0", "{closed}");
        run(&mut client, open);
        let delivered = wait_until(PATIENCE, || deliver(&mut client) == "1");
        assert!(delivered, "{open}");
    }
    run(&mut client, fill);
    let refused = "ERROR 55000: queue \"gone\" has delayed events: 1";
    assert_eq!(outcome(&mut client, "select pgq.drop_queue('gone')"), refused);
    assert_eq!(row(&mut client, "select pgq.drop_queue('gone', true)"), "1");
    pass(&mut client, 10);
    while deliver(&mut client) != "0" {}
    assert_eq!(row(&mut client, "select count(*) from pgq.event_1"), "4");
    assert_eq!(row(&mut client, "select count(*) from pgq.event_2"), "4");
    assert_eq!(row(&mut client, "select count(*) from pgq.delayed_left"), "0");
}

/// Without a worker whoever calls the ticker, or does what maintenance asks for, delivers.
#[test]
fn the_ticker_delivers_in_passing() {
    let (_database, mut client) = queue();
    let has_it =
        "select count(*) from pgq.maint_operations() where func_name = 'pgq.maint_delayed'";
    send_after(&mut client, "x", 60);
    assert_eq!(row(&mut client, has_it), "0");
    pass(&mut client, 100);
    assert_eq!(row(&mut client, has_it), "1");
    run(&mut client, "select pgq.ticker()");
    assert_eq!(row(&mut client, has_it), "0");
    tick(&mut client);
    assert_eq!(receive(&mut client, "c", 1).1, ["x"]);
}

/// Each is delivered once, whoever delivers, cancels, and dies.
#[test]
fn each_is_delivered_once_when_the_server_is_killed() {
    let mut random = Random::for_test("delayed under kill");
    let mut cluster = Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("pgq.discovery_period", "200ms")
        .start();
    let conninfo = cluster.conninfo("postgres");
    run(
        &mut cluster.connect("postgres"),
        "create extension pgq; select pgq.create_queue('q'), pgq.subscribe('q', 'c');
         create table sent (
             msg_id bigint primary key, is_cancelled boolean not null default false)",
    );
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            let (mut random, conninfo, stop) = (random.fork(), &conninfo, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let Ok(mut client) = Client::connect(conninfo, postgres::NoTls) else {
                        // Pace: of attempts to reach a server that restarts.
                        thread::sleep(Duration::from_millis(20));
                        continue;
                    };
                    while !stop.load(Ordering::SeqCst) {
                        let sends = format!(
                            "insert into sent select pgq.send('q', 't', n::text, deliver_at =>
                                clock_timestamp() + {} * interval '1 ms')
                               from generate_series(1, {}) n",
                            random.below(300),
                            1 + random.below(20)
                        );
                        let cancels = "update sent set is_cancelled = true
                             where msg_id = (select msg_id from sent order by msg_id desc limit 1)
                               and not is_cancelled and pgq.cancel('q', msg_id)";
                        let statement = if random.one_in(3) { cancels } else { &sends };
                        let end = if random.one_in(10) { "rollback" } else { "commit" };
                        if client.batch_execute(&format!("begin; {statement}; {end}")).is_err()
                            && client.batch_execute("rollback").is_err()
                        {
                            break;
                        }
                    }
                }
            });
        }
        for _ in 0..3 {
            let mut client = cluster.connect("postgres");
            let count = "select count(*) from pgq.event_1";
            let goal = row(&mut client, count).parse::<u64>().unwrap() + 100 + random.below(300);
            let goes_on =
                wait_until(PATIENCE, || row(&mut client, count).parse::<u64>().unwrap() >= goal);
            if !goes_on {
                stop.store(true, Ordering::SeqCst);
            }
            assert!(goes_on, "{goal} were not reached");
            cluster.stop(Stop::Kill);
            cluster.start();
        }
        stop.store(true, Ordering::SeqCst);
    });
    let mut client = cluster.connect("postgres");
    let wanted = "select count(*) from sent where not is_cancelled";
    let all = format!("select (select count(*) from pgq.event_1) >= ({wanted})");
    let is_all = wait_until(PATIENCE, || row(&mut client, &all) == "t");
    let differs = "select 'missing', msg_id from sent
                    where not is_cancelled and msg_id not in (select ev_id from pgq.event_1)
                   union all
                   select 'strange', ev_id from pgq.event_1
                    where ev_id not in (select msg_id from sent where not is_cancelled)
                   union all
                   select 'twice', ev_id from pgq.event_1 group by ev_id having count(*) > 1
                   limit 10";
    assert_eq!(rows(&mut client, differs), Vec::<String>::new());
    assert!(is_all);
}
