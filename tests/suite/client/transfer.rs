//! Between databases: move, split and load end exactly once, however often they are killed.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pgq_client::{Error, RemoteConsumer, Tracking};
use pgq_tests::{PATIENCE, Random, Scratch, Tree, scratch_database_on, wait_until};
use postgres::Client;

use pgq_tests::programs::{
    connector, create_queue, database_on, dsn, insert_and_tick, pgq, run, stderr, succeed, tick,
    value,
};

/// A database with pgq_ext, and PgQ where events go to queues.
fn target(with_pgq: bool) -> Scratch {
    let scratch = scratch_database_on(Tree::Ours);
    let mut client = scratch.connect();
    if with_pgq {
        client.batch_execute("create extension pgq").unwrap();
    }
    client.batch_execute("create extension pgq_ext cascade").unwrap();
    scratch
}

/// `pgq` running in the background; killed with the value.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(source: &Scratch, arguments: &[&str]) -> Command {
    let mut command = pgq(arguments);
    command.env("PGQ_DSN", dsn(source));
    command
}

#[test]
fn move_copies_everything_once_through_kills() {
    let (source, there) = (database_on(Tree::Ours), target(true));
    let (mut here, mut far) = (source.connect(), there.connect());
    create_queue(&mut here, "q", "mover");
    create_queue(&mut far, "copy", "reader");
    let mut random = Random::for_test("move_copies_everything_once_through_kills");
    let to = dsn(&there);
    let arguments = ["move", "q", "mover", "--to", &to, "--to-queue", "copy", "--poll", "0.01"];
    let copied = "select count(*) from pgq.event_template e, pgq.queue q
                   where q.queue_name = 'copy' and e.tableoid::regclass::text like \
                   q.queue_data_pfx || '%'";
    for round in 0..15 {
        insert_and_tick(&mut here, "q", round * 400, (round + 1) * 400);
        let mut running = Running::start(&mut command(&source, &arguments));
        // From "not even connected" to "done and waiting".
        std::thread::sleep(Duration::from_millis(random.below(150)));
        running.kill();
    }
    let mut running = Running::start(&mut command(&source, &arguments));
    let all = wait_until(PATIENCE, || value(&mut far, copied) == "6000");
    assert!(all, "{} of 6000", value(&mut far, copied));
    assert!(wait_until(PATIENCE, || {
        value(&mut here, "select pending_events from pgq.get_consumer_info('q', 'mover')") == "0"
    }));
    running.kill();
    assert_eq!(
        value(
            &mut far,
            "select count(distinct ev_data) || ' ' || count(*) from pgq.event_template"
        ),
        "6000 6000"
    );
    // Copies keep the time of the original.
    let times =
        "select count(distinct ev_time) || ' ' || max(ev_time)::text from pgq.event_template";
    assert_eq!(value(&mut here, times), value(&mut far, times));
}

#[test]
fn split_sends_each_event_to_its_queue() {
    let (source, there) = (database_on(Tree::Ours), target(true));
    let (mut here, mut far) = (source.connect(), there.connect());
    create_queue(&mut here, "q", "splitter");
    for queue in ["even", "odd"] {
        create_queue(&mut far, queue, "reader");
    }
    here.batch_execute(
        "select pgq.insert_event('q', 'n', n::text, case n % 2 when 0 then 'even' else 'odd' end, \
         null, null, null)
           from generate_series(1, 100) n",
    )
    .unwrap();
    tick(&mut here, "q");
    let to = dsn(&there);
    succeed(&source, &["split", "q", "splitter", "--to", &to, "--once"]);
    tick(&mut far, "even");
    let even = succeed(&there, &["consume", "even", "reader", "--once"]);
    assert_eq!(even.lines().count(), 50);
    assert!(even.lines().all(|line| line.contains("\"ev_extra1\":\"even\"")), "{even}");

    // An event without a queue's name must not be lost: everything waits for it.
    here.batch_execute("select pgq.insert_event('q', 'n', 'nameless')").unwrap();
    tick(&mut here, "q");
    let mut running =
        Running::start(&mut command(&source, &["split", "q", "splitter", "--to", &to]));
    let pending = "select current_batch is not null from pgq.get_consumer_info('q', 'splitter')";
    assert!(wait_until(PATIENCE, || value(&mut here, pending) == "t"));
    running.kill();
    assert_eq!(value(&mut far, "select count(*) from pgq.event_template"), "100");
}

const TABLES: &str = "
    create table parent (id int primary key, note text unique);
    create table child (id int, part int, parent int references parent, data jsonb, at \
    timestamptz default now(),
                        size int generated always as (id * 2) stored, primary key (id, part));
    create table \"Odd.name\" (\"K\" int generated always as identity primary key, \"a'b\" bytea)";

/// A source whose tables write their changes to queue `q`.
fn captured(trigger: &str) -> (Scratch, Scratch, Client, Client) {
    let (source, there) = (database_on(Tree::Ours), target(false));
    let (mut here, mut far) = (source.connect(), there.connect());
    create_queue(&mut here, "q", "loader");
    far.batch_execute(TABLES).unwrap();
    here.batch_execute(TABLES).unwrap();
    for table in ["parent", "child", "\"Odd.name\""] {
        here.batch_execute(&format!(
            "create trigger capture after insert or update or delete on {table}
               for each row execute function pgq.{trigger}('q');
             create trigger capture_truncate after truncate on {table}
               for each statement execute function pgq.{trigger}('q')"
        ))
        .unwrap();
    }
    (source, there, here, far)
}

fn assert_same_tables(here: &mut Client, far: &mut Client) {
    for table in ["parent", "child", "\"Odd.name\""] {
        let sql = format!(
            "select count(*) || ' ' || coalesce(md5(string_agg(t::text, e'\\n' order by \
             t::text)), '-') from {table} t"
        );
        assert_eq!(value(far, &sql), value(here, &sql), "{table}");
    }
}

fn load_makes_tables_equal(trigger: &str) {
    let (source, there, mut here, mut far) = captured(trigger);
    let to = dsn(&there);
    let load = ["load", "q", "loader", "--to", &to, "--once", "--allow-truncate"];
    here.batch_execute(
        "insert into parent select n, 'n' || n from generate_series(1, 500) n;
         insert into child select n, n % 3, n, jsonb_build_object('k', repeat('ü', n % 7)) from \
         generate_series(1, 500) n;
         insert into \"Odd.name\" (\"a'b\") values ('\\x00ff'), (null)",
    )
    .unwrap();
    tick(&mut here, "q");
    succeed(&source, &load);
    assert_same_tables(&mut here, &mut far);

    // Changes whose order matters: unique values that move on, parents that go after their
    // children, rows that come again.
    here.batch_execute(
        "update parent set note = 'moving' where id = 1;
         update parent set note = 'n1' where id = 2;
         update parent set note = 'n2' where id = 1;
         delete from child where id between 10 and 20; delete from parent where id between 10 and \
         20;
         insert into parent values (15, 'again'); insert into child values (15, 1, 15, null);
         update child set parent = 2 where parent = 3; delete from parent where id = 3;
         update child set data = data || '{\"x\": null}' where id > 400;
         update \"Odd.name\" set \"a'b\" = 'text\\134' where \"K\" = 2",
    )
    .unwrap();
    tick(&mut here, "q");
    succeed(&source, &load);
    assert_same_tables(&mut here, &mut far);

    here.batch_execute("truncate \"Odd.name\"; insert into \"Odd.name\" (\"a'b\") values ('z')")
        .unwrap();
    tick(&mut here, "q");
    succeed(&source, &load);
    assert_same_tables(&mut here, &mut far);
}

#[test]
fn load_makes_tables_equal_from_logutriga() {
    load_makes_tables_equal("logutriga");
}

#[test]
fn load_makes_tables_equal_from_jsontriga() {
    load_makes_tables_equal("jsontriga");
}

#[test]
fn load_is_exactly_once_through_kills_and_random_changes() {
    let (source, there, mut here, mut far) = captured("logutriga");
    let mut random = Random::for_test("load_is_exactly_once_through_kills_and_random_changes");
    let to = dsn(&there);
    let arguments = ["load", "q", "loader", "--to", &to, "--poll", "0.01"];
    for _ in 0..12 {
        for _ in 0..15 {
            let id = random.below(40) + 1;
            let text = random.below(1000);
            let sql = match random.below(4) {
                0 => format!(
                    "insert into parent values ({id}, 't{id}_{text}') on conflict do nothing"
                ),
                1 => format!("update parent set note = 't{id}_{text}' where id = {id}"),
                2 => format!(
                    "insert into child (id, part, parent) select {id}, {text} % 3, {id} where \
                     exists (select from parent where id = {id}) on conflict (id, part) do update \
                     set data = '[{text}]'"
                ),
                _ => format!(
                    "delete from child where parent = {id}; delete from parent where id = {id}"
                ),
            };
            here.batch_execute(&sql).unwrap();
        }
        tick(&mut here, "q");
        let mut running = Running::start(&mut command(&source, &arguments));
        std::thread::sleep(Duration::from_millis(random.below(120)));
        running.kill();
    }
    succeed(&source, &["load", "q", "loader", "--to", &to, "--once"]);
    assert_same_tables(&mut here, &mut far);
}

#[test]
fn load_names_what_the_target_lacks() {
    let (source, there, mut here, mut far) = captured("logutriga");
    let to = dsn(&there);
    far.batch_execute("drop table child; alter table parent drop column note").unwrap();
    here.batch_execute("insert into parent values (1, 'a')").unwrap();
    tick(&mut here, "q");
    // With --once it ends, for a cron job.
    let once = run(&source, &["load", "q", "loader", "--to", &to, "--once"]);
    assert_eq!(once.status.code(), Some(4), "{}", stderr(&once));
    let words = "table \"public.parent\": the target has no column \"note\"";
    assert!(stderr(&once).contains(words), "{}", stderr(&once));
    // Else it keeps trying, so that somebody may add the column.
    let mut running = Running::start(&mut command(&source, &["load", "q", "loader", "--to", &to]));
    let waits = "select current_batch is not null from pgq.get_consumer_info('q', 'loader')";
    assert!(wait_until(PATIENCE, || value(&mut here, waits) == "t"));
    far.batch_execute("alter table parent add note text").unwrap();
    assert!(wait_until(PATIENCE, || { value(&mut far, "select count(*) from parent") == "1" }));
    assert!(running.0.try_wait().unwrap().is_none(), "it goes on");
    running.kill();

    here.batch_execute("insert into child (id, part, parent) values (1, 1, 1)").unwrap();
    tick(&mut here, "q");
    succeed(&source, &["load", "q", "loader", "--to", &to, "--once", "--skip-missing"]);
    here.batch_execute("insert into child (id, part, parent) values (2, 2, 1)").unwrap();
    tick(&mut here, "q");
    let once = run(&source, &["load", "q", "loader", "--to", &to, "--once"]);
    assert_eq!(once.status.code(), Some(4), "{}", stderr(&once));
    assert!(
        stderr(&once).contains("the target has no table \"public.child\""),
        "{}",
        stderr(&once)
    );
}

/// What no waiting heals ends with its exit code, at once and as a service alike.
#[test]
fn what_cannot_heal_ends() {
    let (source, there) = (database_on(Tree::Ours), target(true));
    let (mut here, mut far) = (source.connect(), there.connect());
    create_queue(&mut here, "q", "c");
    insert_and_tick(&mut here, "q", 0, 3);
    let to = dsn(&there);
    for more in [None, Some("--once")] {
        let mut command =
            command(&source, &["move", "q", "c", "--to", &to, "--to-queue", "missing"]);
        let output = command.args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        assert!(stderr(&output).contains("missing"), "{}", stderr(&output));
    }
    far.batch_execute(
        "create table t (id int primary key); create role bare login;
         grant usage on schema pgq_ext to bare; grant execute on all functions in schema pgq_ext \
         to bare",
    )
    .unwrap();
    here.batch_execute(
        "select pgq.insert_event('q', 'I:id', 'id=1', 'public.t', null, null, null)",
    )
    .unwrap();
    tick(&mut here, "q");
    let bare = to.replace("user='postgres'", "user=bare");
    assert!(bare.contains("user=bare"), "{bare}");
    let output = run(&source, &["load", "q", "c", "--to", &bare]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    far.batch_execute("drop owned by bare; drop role bare").unwrap();

    for (command, code) in [("./nonexist", 4), ("/etc/passwd", 5)] {
        for more in [None, Some("--per-batch")] {
            let arguments =
                ["consume", "q", "c", "--exec", command, "--max-attempts", "1", "--dead", "d"];
            let output = pgq(&arguments).args(more).env("PGQ_DSN", dsn(&source)).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{command}: {}", stderr(&output));
            let words = "the handler cannot be run";
            assert!(stderr(&output).contains(words), "{}", stderr(&output));
        }
    }
    // No event was blamed.
    assert_eq!(value(&mut here, "select count(*) from pgq.retry_queue"), "0");
    assert_eq!(succeed(&source, &["dead", "list", "d"]), "(none)\n");
    let function = "create function take(jsonb) returns void language sql as 'select'";
    here.batch_execute(function).unwrap();
    let mut dropping = pgq(&["consume", "q", "c", "--sql", "take"]);
    let mut running = dropping.env("PGQ_DSN", dsn(&source)).stderr(Stdio::null()).spawn().unwrap();
    let idle = "select pending_events from pgq.get_consumer_info('q', 'c')";
    assert!(wait_until(PATIENCE, || value(&mut here, idle) == "0"));
    here.batch_execute("drop function take(jsonb)").unwrap();
    insert_and_tick(&mut here, "q", 0, 3);
    assert!(wait_until(PATIENCE, || running.try_wait().unwrap().is_some()));
    assert_eq!(running.wait().unwrap().code(), Some(4));
    assert_eq!(value(&mut here, "select count(*) from pgq.retry_queue"), "0");
}

/// What set-wise statements do, single ones do as well; and what a constraint forbids in one order
/// is done in the other.
#[test]
fn load_row_by_row_makes_tables_equal() {
    let (source, there, mut here, mut far) = captured("logutriga");
    let to = dsn(&there);
    here.batch_execute(
        "insert into parent select n, 'it''s \\ ' || n from generate_series(1, 300) n;
         insert into child select n, n % 3, n, jsonb_build_object('k', 'ü\"\\') from \
         generate_series(1, 300) n;
         insert into \"Odd.name\" (\"a'b\") values ('\\x00ff5c27'), (null);
         update parent set note = null where id < 10; delete from child where id > 290; delete \
         from parent where id > 290;
         update child set data = null where id < 5; truncate \"Odd.name\";
         insert into \"Odd.name\" (\"a'b\") values ('\\x5c')",
    )
    .unwrap();
    tick(&mut here, "q");
    succeed(
        &source,
        &["load", "q", "loader", "--to", &to, "--once", "--row-by-row", "--allow-truncate"],
    );
    assert_same_tables(&mut here, &mut far);
    // Parents go before their children in the order of tables, so this page needs the other way.
    here.batch_execute(
        "delete from child where id = 20; delete from parent where id = 20; insert \
        into parent values (20, 'x')",
    )
    .unwrap();
    here.batch_execute(
        "update parent set note = 'moving' where id = 30; update parent set note = \
        (select 'it''s \\ 30') where id = 31",
    )
    .unwrap();
    tick(&mut here, "q");
    succeed(&source, &["load", "q", "loader", "--to", &to, "--once"]);
    assert_same_tables(&mut here, &mut far);
}

#[test]
fn load_does_not_cut_values_that_are_too_long() {
    let (source, there) = (database_on(Tree::Ours), target(false));
    let (mut here, mut far) = (source.connect(), there.connect());
    create_queue(&mut here, "q", "loader");
    far.batch_execute("create table t (id int primary key, name varchar(5), code char(3))")
        .unwrap();
    here.batch_execute(
        "create table t (id int primary key, name text, code char(3));
         create trigger capture after insert on t for each row execute function pgq.logutriga('q');
         insert into t values (1, 'short', 'ab'), (2, 'too long', 'c')",
    )
    .unwrap();
    tick(&mut here, "q");
    let to = dsn(&there);
    for more in [None, Some("--row-by-row")] {
        let mut load = command(&source, &["load", "q", "loader", "--once", "--to", &to]);
        let mut load =
            load.args(more).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let words = std::io::BufRead::lines(std::io::BufReader::new(load.stderr.take().unwrap()));
        let words = { words }.next().unwrap().unwrap();
        assert!(words.contains("value too long for type character varying(5)"), "{words}");
        load.kill().unwrap();
        load.wait().unwrap();
        assert_eq!(value(&mut far, "select count(*) from t"), "0");
    }
    far.batch_execute("alter table t alter name type text").unwrap();
    succeed(&source, &["load", "q", "loader", "--once", "--to", &to]);
    let rows = "select string_agg(t::text, ' ' order by id) from t";
    assert_eq!(value(&mut far, rows), value(&mut here, rows));
}

#[test]
fn target_without_pgq_ext_is_named() {
    let (source, there) = (database_on(Tree::Ours), scratch_database_on(Tree::Ours));
    create_queue(&mut source.connect(), "q", "c");
    let output = run(&source, &["load", "q", "c", "--to", &dsn(&there)]);
    assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
    assert!(stderr(&output).contains("pgq_ext"), "{}", stderr(&output));
}

/// A remote consumer that writes numbers into table `seen` of the target.
fn remote(source: &Scratch, there: &Scratch, tracking: Tracking) -> RemoteConsumer {
    RemoteConsumer::builder("q", "c")
        .tracking(tracking)
        .stop_when_empty(true)
        .connect(connector(source), connector(there))
        .unwrap()
}

fn note(batch: &mut pgq_client::RemoteBatch<'_, '_, '_>) -> Result<(), pgq_client::HandlerError> {
    while let Some(page) = batch.next_page()? {
        for event in page {
            let n: i32 = event.payload()?;
            batch.target().execute("insert into seen values ($1)", &[&n])?;
        }
    }
    Ok(())
}

#[test]
fn batch_committed_in_the_target_is_not_done_again() {
    for tracking in [Tracking::Tick, Tracking::Batch] {
        let (source, there) = (database_on(Tree::Ours), target(false));
        let (mut here, mut far) = (source.connect(), there.connect());
        far.batch_execute("create table seen (n int)").unwrap();
        create_queue(&mut here, "q", "c");
        insert_and_tick(&mut here, "q", 0, 10);
        // The target commits, then the source is out of reach for finish_batch: as if killed
        // between the two.
        here.batch_execute(
            "create function refuse() returns trigger language plpgsql as
               $$ begin raise 'not now' using errcode = '42501'; end $$;
             create trigger refuse before update of sub_last_tick on pgq.subscription
               for each row execute function refuse()",
        )
        .unwrap();
        let error = remote(&source, &there, tracking).run_batches(note).unwrap_err();
        assert_eq!(error.sqlstate(), Some("42501"), "{error}");
        assert_eq!(value(&mut far, "select count(*) from seen"), "10");
        here.batch_execute("drop trigger refuse on pgq.subscription").unwrap();
        let stats = remote(&source, &there, tracking).run_batches(note).unwrap();
        assert_eq!((stats.skipped, stats.events), (1, 0));
        assert_eq!(value(&mut far, "select count(*) from seen"), "10");
    }
}

#[test]
fn lost_position_is_said_and_rewind_cures_it() {
    let (source, there) = (database_on(Tree::Ours), target(false));
    let (mut here, mut far) = (source.connect(), there.connect());
    far.batch_execute("create table seen (n int)").unwrap();
    create_queue(&mut here, "q", "c");
    insert_and_tick(&mut here, "q", 0, 10);
    remote(&source, &there, Tracking::Tick).run_batches(note).unwrap();
    let position = value(&mut far, "select pgq_ext.get_last_tick('c')");
    insert_and_tick(&mut here, "q", 10, 20);
    remote(&source, &there, Tracking::Tick).run_batches(note).unwrap();
    insert_and_tick(&mut here, "q", 20, 30);

    // The target comes back from a backup of an earlier time.
    far.batch_execute(&format!(
        "delete from seen where n >= 10; select pgq_ext.set_last_tick('c', {position})"
    ))
    .unwrap();
    let error = remote(&source, &there, Tracking::Tick).run_batches(note).unwrap_err();
    assert!(matches!(error, Error::LostPosition { .. }), "{error}");
    let mut consumer = remote(&source, &there, Tracking::Tick);
    assert_eq!(consumer.rewind().unwrap().to_string(), position);
    consumer.run_batches(note).unwrap();
    assert_eq!(value(&mut far, "select count(*) || ' ' || count(distinct n) from seen"), "30 30");
}
