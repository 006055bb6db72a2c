//! Cooperative consumers as processes that are killed and stopped, and as sessions that race.

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};

use pgq_tests::{PATIENCE, Random, Scratch, scratch_database, wait_until};
use postgres::Client;

use pgq_tests::query::{row, rows, run};
use pgq_tests::race::race;

const EVENTS: usize = 3000;

/// A group that shares a queue with many small batches in it, and a table for the handler's
/// effects.
fn full_queue(batches: usize) -> Scratch {
    let database = scratch_database();
    let mut client = database.connect();
    run(
        &mut client,
        "create extension pgq_coop;
         select pgq.create_queue('q');
         update pgq.queue set queue_ticker_max_count = 1, queue_ticker_max_lag = '0', \
         queue_ticker_idle_period = '0';
         select pgq_coop.register_subconsumer('q', 'main', 'first');
         select pgq_coop.unregister_subconsumer('q', 'main', 'first', 0);
         create table handled (event bigint, member text)",
    );
    for _ in 0..batches {
        run(
            &mut client,
            &format!(
                "select pgq.insert_event('q', 'test', n::text) from generate_series(1, {}) n",
                EVENTS / batches
            ),
        );
        run(&mut client, "select pgq.ticker('q')");
    }
    database
}

/// A member in a psql process of its own: it takes batches, handles and finishes each in one
/// transaction, and commits only what it could finish. It begins when nobody holds them back.
fn member(database: &Scratch, name: &str) -> Child {
    let mut script = "select pg_advisory_lock_shared(1);\n".to_owned();
    for _ in 0..4000 {
        write!(
            script,
            "\\unset batch\n\\set finished 0\n\
             select pgq_coop.next_batch('q', 'main', '{name}', '250 ms') as batch \\gset\n\
             \\if :{{?batch}}\n\
             begin;\n\
             insert into handled select ev_id, '{name}' from pgq.get_batch_events(:batch);\n\
             select pgq_coop.finish_batch(:batch) as finished \\gset\n\
             \\if :finished\ncommit;\n\\else\nrollback;\n\\endif\n\
             \\else\nselect pg_sleep(0.01) as slept \\gset\n\\endif\n",
        )
        .unwrap();
    }
    let path = database.cluster().dir().join(format!("{}-{name}.sql", database.name()));
    std::fs::write(&path, script).unwrap();
    let mut psql: Command = database.cluster().command("psql");
    psql.args(["-X", "-q", "-d", database.name(), "-f"]).arg(path);
    psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    psql.spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
}

fn handled(client: &mut Client) -> usize {
    row(client, "select count(*) from handled").parse().unwrap()
}

/// Every event of the queue is in `handled` exactly once.
fn assert_exactly_once(client: &mut Client) {
    assert_eq!(
        rows(
            client,
            "select event, count(*) from handled group by event having count(*) <> 1 limit 5"
        ),
        Vec::<String>::new()
    );
    assert_eq!(handled(client), EVENTS);
}

#[test]
fn members_that_are_killed_and_stopped_lose_and_repeat_nothing() {
    let database = full_queue(500);
    let mut client = database.connect();
    let mut random = Random::for_test("members_that_are_killed_and_stopped");
    let mut members: Vec<_> = (0..3).map(|n| member(&database, &format!("m{n}"))).collect();
    let mut stopped: Vec<Child> = Vec::new();
    let mut born = members.len();

    while born < 15 {
        let before = handled(&mut client);
        let goal = (before + 40).min(EVENTS);
        assert!(wait_until(PATIENCE, || handled(&mut client) >= goal), "the group stands still");
        let victim = usize::try_from(random.below(3)).unwrap();
        let mut victim =
            std::mem::replace(&mut members[victim], member(&database, &format!("m{born}")));
        born += 1;
        if random.one_in(3) {
            // It will come back late, with whatever it was doing.
            signal(&victim, "STOP");
            stopped.push(victim);
        } else {
            signal(&victim, "KILL");
            victim.wait().unwrap();
        }
    }
    for late in &stopped {
        signal(late, "CONT");
    }
    assert!(wait_until(PATIENCE, || handled(&mut client) >= EVENTS));
    for mut child in members.into_iter().chain(stopped) {
        signal(&child, "KILL");
        child.wait().unwrap();
    }
    // Nobody is left, so what comes now is final.
    let quiet = "select count(*) from pg_stat_activity where datname = current_database() and pid \
        <> pg_backend_pid()";
    assert!(wait_until(PATIENCE, || row(&mut client, quiet) == "0"));
    assert_exactly_once(&mut client);
}

#[test]
fn members_that_work_alike_get_a_fair_share() {
    let database = full_queue(300);
    let mut client = database.connect();
    run(&mut client, "select pg_advisory_lock(1)");
    let mut members: Vec<_> = (0..3).map(|n| member(&database, &format!("m{n}"))).collect();
    let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                    where datname = current_database() and locktype = 'advisory' and not granted";
    assert!(wait_until(PATIENCE, || row(&mut client, waiting) == "3"));
    run(&mut client, "select pg_advisory_unlock(1)");
    let all = wait_until(PATIENCE, || handled(&mut client) >= EVENTS);
    for member in &mut members {
        signal(member, "KILL");
        member.wait().unwrap();
    }
    assert!(all, "the group stands still");
    assert_exactly_once(&mut client);
    // Nobody goes short.
    let shares =
        rows(&mut client, "select member, count(*) from handled group by member order by member");
    assert_eq!(shares.len(), 3, "{shares:?}");
    for share in &shares {
        let count: usize = share.rsplit('|').next().unwrap().parse().unwrap();
        assert!(count * 10 >= EVENTS, "{shares:?}");
    }
}

#[test]
fn coming_going_and_maintenance_do_not_disturb_each_other() {
    let database = full_queue(300);
    let mut client = database.connect();
    run(&mut client, "update pgq.queue set queue_rotation_period = '0'");
    let work = |name: &str| {
        format!(
            "select pgq_coop.finish_batch(b) from pgq_coop.next_batch('q', 'main', '{name}', '1 \
             ms') b where b is not null"
        )
    };
    let (one, two) = (work("one"), work("two"));
    let errors = race(
        &database,
        250,
        &[],
        &[
            &[&one, "select pgq_coop.unregister_subconsumer('q', 'main', 'one', 1)"],
            &[&two, "select pgq_coop.next_batch('q', 'main', 'two', '1 ms')"],
            &[
                "select pgq_coop.register_subconsumer('q', 'main', 'two')",
                "select pgq.unregister_consumer('q', 'main.two')",
            ],
            &[
                "select pgq_coop.register_subconsumer('q', 'main', 'one')",
                "select pgq_coop.register_subconsumer('q', 'main', 'three')",
                "select pgq.unregister_consumer('q', 'main.three')",
            ],
            &[
                "select pgq.register_consumer('q', 'plain')",
                "select pgq.unregister_consumer('q', 'plain')",
            ],
            &[
                "select pgq.maint_rotate_tables_step1('q')",
                "select pgq.maint_rotate_tables_step2()",
                "select pgq.maint_retry_events()",
                "select pgq.ticker('q')",
                "select pgq.insert_event('q', 'test', 'more')",
            ],
        ],
    );
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn whole_groups_come_and_go_without_deadlock() {
    let database = full_queue(10);
    let errors = race(
        &database,
        250,
        &[],
        &[
            &[
                "select pgq_coop.next_batch('q', 'main', 'one', '1 ms')",
                "select pgq.unregister_consumer('q', 'main')",
            ],
            &["select pgq_coop.next_batch('q', 'main', 'two')", "select pgq.ticker('q')"],
            &[
                "select pgq_coop.register_subconsumer('q', 'main', 'one')",
                "select pgq_coop.unregister_subconsumer('q', 'main', 'two', 1)",
            ],
            &[
                "select pgq.register_consumer('q', 'main')",
                "select pgq.unregister_consumer('q', 'main.one')",
            ],
        ],
    );
    assert_eq!(errors, Vec::<String>::new());
    let mut client = database.connect();
    run(&mut client, "select pgq.unregister_consumer('q', 'main')");
    assert_eq!(row(&mut client, "select count(*) from pgq.subscription"), "0");
}

#[test]
fn queue_is_dropped_and_made_anew_under_its_group() {
    let database = full_queue(10);
    let errors = race(
        &database,
        100,
        &["42704"],
        &[
            &["select pgq.drop_queue('q', true)", "select pgq.create_queue('q')"],
            &[
                "select pgq_coop.next_batch('q', 'main', 'one', '1 ms')",
                "select pgq.unregister_consumer('q', 'main')",
            ],
            &[
                "select pgq.register_consumer('q', 'plain')",
                "select pgq.unregister_consumer('q', 'plain')",
            ],
            &["select pgq.ticker()", "select pgq.maint_rotate_tables_step1('q')"],
        ],
    );
    assert_eq!(errors, Vec::<String>::new());
}
