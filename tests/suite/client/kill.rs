//! Kill the consumer after every step of a batch and start it again: same-database and remote
//! targets end exactly once, plain consumers at least once. The steps are those of
//! `client/src/failpoint.rs`; the process kills itself there, so nothing is left to chance.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use pgq_tests::{Scratch, Tree};
use postgres::Client;

use pgq_tests::programs::{
    create_queue, database_on, dsn, insert_and_tick, pgq, programs, stderr, target, tick,
    tick_always, value,
};

/// Batches of a trial, and events in each.
const BATCHES: u32 = 3;
const EVENTS: u32 = 4;

/// A step and its visit at which to die.
type Death = (&'static str, u32);

/// Every step of each batch of a consumer whose effects are in the queue's database or nowhere, and
/// single events for `per_event`.
fn deaths(per_event: bool) -> Vec<Death> {
    let mut deaths = Vec::new();
    for batch in 1..=BATCHES {
        for step in ["batch.opened", "events.read", "finish.sent", "finish.committed"] {
            deaths.push((step, batch));
        }
        if !per_event {
            deaths.push(("handler.done", batch));
        }
    }
    if per_event {
        // The first and the last event of a batch, and one in the middle of another.
        deaths.extend([1, EVENTS, EVENTS + 2].map(|event| ("handler.done", event)));
    }
    deaths
}

/// Every step of the first two batches of a consumer whose effects are in another database.
fn remote_deaths() -> Vec<Death> {
    let steps = [
        "batch.opened",
        "target.checked",
        "events.read",
        "handler.done",
        "tracking.noted",
        "target.committed",
        "finish.committed",
    ];
    steps.into_iter().flat_map(|step| [(step, 1), (step, 2)]).collect()
}

/// Run a command that must kill itself at the step.
fn dies(command: &mut Command, (step, visit): Death) {
    let output = command.env("PGQ_FAILPOINT", format!("{step}=kill@{visit}")).output().unwrap();
    assert_eq!(
        output.status.signal(),
        Some(9),
        "{command:?} does not come to {step} {visit} times: {}\n{}",
        output.status,
        stderr(&output)
    );
}

/// Run a command that must succeed.
fn lives(command: &mut Command, death: Death) {
    let output = command.env_remove("PGQ_FAILPOINT").output().unwrap();
    assert!(output.status.success(), "after {death:?}: {command:?}: {}", stderr(&output));
}

fn command(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = pgq(arguments);
    command.env("PGQ_DSN", dsn(scratch));
    command
}

/// A database with table `seen` and function `take`, which fails for event 1 the first time and for
/// event 2 always.
fn taking() -> (Scratch, Client) {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    client
        .batch_execute(
            "create table seen (n int);
             create function take(e jsonb) returns void language sql as
               $$ insert into seen values ((e->>'ev_data')::int) $$;
             create function take_or_fail(e jsonb) returns void language plpgsql as $$
               begin
                 insert into seen values ((e->>'ev_data')::int);
                 if e->>'ev_data' = '2' or (e->>'ev_data' = '1' and e->>'ev_retry' is null) then
                   raise 'not this one';
                 end if;
               end $$",
        )
        .unwrap();
    (scratch, client)
}

fn fill(client: &mut Client, queue: &str) {
    for batch in 0..BATCHES {
        insert_and_tick(client, queue, batch * EVENTS, (batch + 1) * EVENTS);
    }
}

const ALL: u32 = BATCHES * EVENTS;

/// Table `seen` has each of the trial's events once.
fn assert_exactly_once(client: &mut Client, death: Death) {
    let seen = value(
        client,
        "select count(*) || ' of ' || count(distinct n) || ' to ' || max(n) from seen",
    );
    assert_eq!(seen, format!("{ALL} of {ALL} to {}", ALL - 1), "after {death:?}");
    client.batch_execute("truncate seen").unwrap();
}

#[test]
fn function_in_the_queues_database_is_exactly_once() {
    let (scratch, mut client) = taking();
    for (trial, death) in deaths(true).into_iter().enumerate() {
        let queue = format!("q{trial}");
        create_queue(&mut client, &queue, "c");
        fill(&mut client, &queue);
        let mut consume = command(&scratch, &["consume", &queue, "c", "--once", "--sql", "take"]);
        dies(&mut consume, death);
        lives(&mut consume, death);
        assert_exactly_once(&mut client, death);
    }
}

#[test]
fn retries_and_dead_letters_are_exactly_once() {
    let (scratch, mut client) = taking();
    let deaths: [&[Death]; 2] = [
        &[("retry.stored", 1), ("finish.sent", 1), ("finish.committed", 1)],
        &[("dead.stored", 1), ("handler.done", 2), ("finish.sent", 1), ("finish.committed", 1)],
    ];
    let mut trial = 0;
    for (delivery, deaths) in deaths.into_iter().enumerate() {
        for death in deaths {
            trial += 1;
            let queue = format!("q{trial}");
            let dead = format!("{queue}.dead");
            create_queue(&mut client, &queue, "c");
            fill(&mut client, &queue);
            let mut consume = command(
                &scratch,
                &[
                    "consume",
                    &queue,
                    "c",
                    "--once",
                    "--sql",
                    "take_or_fail",
                    "--retry-after",
                    "0",
                    "--max-attempts",
                    "2",
                    "--dead",
                    &dead,
                ],
            );
            for number in 0..2 {
                if number == delivery {
                    dies(&mut consume, *death);
                }
                lives(&mut consume, *death);
                tick_always(&mut client);
                while value(&mut client, "select pgq.maint_retry_events()") != "0" {}
                tick(&mut client, &queue);
            }
            assert_eq!(value(&mut client, "select count(*) from pgq.retry_queue"), "0");
            // Event 2 is not among the seen ones but among the dead, once.
            client.batch_execute("insert into seen values (2)").unwrap();
            assert_exactly_once(&mut client, *death);
            let letters = pgq(&["dead", "list", &dead, "--json", "--dsn", &dsn(&scratch)]);
            let letters = { letters }.output().unwrap();
            assert_eq!(
                String::from_utf8_lossy(&letters.stdout).lines().count(),
                1,
                "after {death:?}: {letters:?}"
            );
        }
    }
}

/// Each event came, and none but those of the batch at hand came twice.
fn assert_at_least_once(text: &str, death: Death) {
    let mut times = BTreeMap::<u32, u32>::new();
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let number = event["ev_data"].as_str().unwrap().parse().unwrap();
        *times.entry(number).or_default() += 1;
    }
    assert_eq!(times.len(), ALL as usize, "after {death:?}: {times:?}");
    let again: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(again.len() <= EVENTS as usize, "after {death:?}: {times:?}");
    let batches: std::collections::BTreeSet<_> =
        again.iter().map(|(number, _)| *number / EVENTS).collect();
    assert!(batches.len() <= 1 && again.iter().all(|(_, times)| **times == 2), "{times:?}");
    // What committed before the death does not come again.
    if death.0 == "finish.committed" {
        assert!(again.is_empty(), "after {death:?}: {times:?}");
    }
}

#[test]
fn programs_that_are_fed_get_everything_at_least_once() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    let dir = tempfile::tempdir().unwrap();
    let mut trial = 0;
    for per_event in [true, false] {
        for death in deaths(per_event) {
            trial += 1;
            let queue = format!("q{trial}");
            let file = dir.path().join(&queue);
            let script = format!("cat >>'{}'", file.display());
            create_queue(&mut client, &queue, "c");
            fill(&mut client, &queue);
            let mut consume =
                command(&scratch, &["consume", &queue, "c", "--once", "--exec", &script]);
            if !per_event {
                consume.arg("--per-batch");
            }
            dies(&mut consume, death);
            lives(&mut consume, death);
            assert_at_least_once(&fs::read_to_string(&file).unwrap(), death);
        }
    }
}

#[test]
fn standard_output_gets_everything_at_least_once() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    for (trial, death) in deaths(false).into_iter().enumerate() {
        let queue = format!("q{trial}");
        create_queue(&mut client, &queue, "c");
        fill(&mut client, &queue);
        let mut consume = command(&scratch, &["consume", &queue, "c", "--once"]);
        let (step, visit) = death;
        let before = consume.env("PGQ_FAILPOINT", format!("{step}=kill@{visit}")).output().unwrap();
        assert_eq!(before.status.signal(), Some(9), "{death:?}: {}", stderr(&before));
        let after = consume.env_remove("PGQ_FAILPOINT").output().unwrap();
        assert!(after.status.success(), "{death:?}: {}", stderr(&after));
        let text = [before.stdout, after.stdout].concat();
        assert_at_least_once(&String::from_utf8(text).unwrap(), death);
    }
}

#[test]
fn member_of_a_group_is_exactly_once_whether_it_comes_back_or_another_takes_over() {
    let (scratch, mut client) = taking();
    client.batch_execute("create extension pgq_coop").unwrap();
    let mut trial = 0;
    for heir in ["one", "two"] {
        for death in deaths(true) {
            trial += 1;
            let queue = format!("q{trial}");
            client.query_one("select pgq.create_queue($1)", &[&queue]).unwrap();
            tick_always(&mut client);
            client
                .query_one("select pgq_coop.register_subconsumer($1, 'crew', 'one')", &[&queue])
                .unwrap();
            fill(&mut client, &queue);
            let member = |name: &str| {
                command(
                    &scratch,
                    &[
                        "consume",
                        &queue,
                        "crew",
                        "--once",
                        "--sql",
                        "take",
                        "--cooperative",
                        name,
                        "--takeover",
                        "60",
                    ],
                )
            };
            dies(&mut member("one"), death);
            if heir == "two" {
                client
                    .batch_execute(
                        "update pgq.subscription set sub_active = now() - interval '1 hour'
                          where sub_batch is not null",
                    )
                    .unwrap();
            }
            lives(&mut member(heir), death);
            assert_exactly_once(&mut client, death);
        }
    }
}

/// Numbers of the events in the target's queues, which are emptied.
const COPIES: &str = "with gone as (select ev_data::int as n from pgq.event_template)
    select count(*) || ' of ' || count(distinct n) || ' to ' || max(n) from gone";

#[test]
fn move_and_split_are_exactly_once() {
    let source = database_on(Tree::Ours);
    let mut here = source.connect();
    let (there, mut far) = target("");
    let to = dsn(&there);
    create_queue(&mut far, "copy", "reader");
    let mut trial = 0;
    for death in remote_deaths() {
        trial += 1;
        let queue = format!("q{trial}");
        create_queue(&mut here, &queue, "mover");
        create_queue(&mut here, &format!("{queue}s"), "splitter");
        fill(&mut here, &queue);
        for n in 0..ALL {
            let split = format!("{queue}s");
            let extra1 = format!("{queue}_{}", n % 2);
            here.execute(
                "select pgq.insert_event($1, 'n', $2, $3, null, null, null)",
                &[&split, &n.to_string(), &extra1],
            )
            .unwrap();
            if n % EVENTS == EVENTS - 1 {
                tick(&mut here, &split);
            }
        }
        let splits = format!("{queue}s");
        for parity in 0..2 {
            far.query_one("select pgq.create_queue($1)", &[&format!("{queue}_{parity}")]).unwrap();
        }
        // The names of consumers are those of positions in the target, so each trial has its own.
        let (mover, splitter) = (format!("mover{trial}"), format!("splitter{trial}"));
        for (queue, consumer) in [(&queue, &mover), (&splits, &splitter)] {
            here.query_one("select pgq.register_consumer_at($1, $2, 1)", &[queue, consumer])
                .unwrap();
        }
        for arguments in [
            vec!["move", &queue, &mover, "--to", &to, "--to-queue", "copy", "--once"],
            vec!["split", &splits, &splitter, "--to", &to, "--once"],
        ] {
            let mut running = command(&source, &arguments);
            dies(&mut running, death);
            lives(&mut running, death);
            assert_eq!(
                value(&mut far, COPIES),
                format!("{ALL} of {ALL} to {}", ALL - 1),
                "{arguments:?} after {death:?}"
            );
            far.batch_execute("truncate pgq.event_template cascade").unwrap();
        }
    }
}

#[test]
fn load_is_exactly_once() {
    let source = database_on(Tree::Ours);
    let mut here = source.connect();
    // The second table has no key, so that a change applied twice is a row too many.
    let tables = "create table account (id int primary key, cents int); create table log (n int)";
    let (there, mut far) = target(tables);
    let to = dsn(&there);
    here.batch_execute(tables).unwrap();
    for (trial, death) in remote_deaths().into_iter().enumerate() {
        let (queue, loader) = (format!("q{trial}"), format!("loader{trial}"));
        create_queue(&mut here, &queue, &loader);
        for table in ["account", "log"] {
            here.batch_execute(&format!(
                "drop trigger if exists capture on {table};
                 create trigger capture after insert or update or delete on {table}
                   for each row execute function pgq.logutriga('{queue}')"
            ))
            .unwrap();
        }
        for changes in [
            format!(
                "insert into account select n, 0 from generate_series({trial} * 10, {trial} * 10 + 5) n"
            ),
            "update account set cents = cents + 1; delete from account where id % 10 = 3"
                .to_owned(),
            "insert into account select max(id) + 1, 5 from account".to_owned(),
        ] {
            here.batch_execute(&format!("{changes}; insert into log values ({trial})")).unwrap();
            tick(&mut here, &queue);
        }
        let mut load = command(&source, &["load", &queue, &loader, "--to", &to, "--once"]);
        dies(&mut load, death);
        lives(&mut load, death);
        for table in ["account", "log"] {
            let sql = format!(
                "select count(*) || ' ' || string_agg(t::text, ' ' order by t::text) from {table} t"
            );
            assert_eq!(value(&mut far, &sql), value(&mut here, &sql), "{table} after {death:?}");
        }
    }
}

#[test]
fn remote_consumer_that_remembers_batches_is_exactly_once() {
    let source = database_on(Tree::Ours);
    let mut here = source.connect();
    let (there, mut far) = target("create table ledger (payment text)");
    create_queue(&mut here, "payments", "bookkeeper");
    for death in remote_deaths() {
        fill(&mut here, "payments");
        let mut example = Command::new(programs().join("examples/remote_consumer"));
        example.args([dsn(&source), dsn(&there)]);
        dies(&mut example, death);
        lives(&mut example, death);
        let copied =
            value(&mut far, "select count(*) || ' of ' || count(distinct payment) from ledger");
        assert_eq!(copied, format!("{ALL} of {ALL}"), "after {death:?}");
        far.batch_execute("truncate ledger").unwrap();
    }
}
