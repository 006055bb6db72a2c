//! Whoever manages queues, and so may write to `pgq.queue`, gains nothing by the names that stand
//! in it.

use pgq_tests::{Scratch, scratch_database};
use postgres::Client;

use pgq_tests::programs::run as run_pgq;
use pgq_tests::query::{outcome, row, rows, run};

/// A database with queue `q`, which has events in an open batch, in a group's open batch and after
/// the last tick, an external queue `ext`, and a role that manages queues and has laid out what
/// `names.sql` says in a schema of its own.
struct Stage {
    database: Scratch,
    owner: Client,
    mallory: Client,
    role: String,
}

impl Stage {
    fn set() -> Self {
        let database = scratch_database();
        let role = format!("{}_mallory", database.name());
        let mut owner = database.connect();
        run(
            &mut owner,
            &format!(
                "create extension pgq_coop; create extension pgq_node;
                 create role {role} login in role pgq_admin; grant create on database {} to {role};
                 select pgq.create_queue('q'), pgq.create_queue('ext'), pgq.create_queue('other');
                 update pgq.queue set queue_external_ticker = true where queue_name <> 'q'",
                database.name()
            ),
        );
        for step in [
            // A tick after the one that sees its own transaction as running: the tables can be
            // switched.
            "select pgq.force_tick('q')",
            "select pgq.ticker('q')",
            "select pgq.register_consumer('q', 'c'), pgq_coop.register_subconsumer('q', 'g', 'm'),
                 pgq_coop.register_subconsumer('q', 'g', 'n')",
            "select pgq.insert_event('q', 't', 'd') from generate_series(1, 5)",
            "select pgq.force_tick('q')",
            "select pgq.ticker('q')",
            "select pgq.next_batch('q', 'c'), pgq_coop.next_batch('q', 'g', 'm')",
            // Past the member's batch, so that it cannot just go back.
            "select pgq.insert_event('q', 't', 'd')",
            "select pgq.force_tick('q')",
            "select pgq.ticker('q')",
            "select pgq_coop.next_batch('q', 'g', 'n')",
            // Switched long ago, whatever other tests of this server hold open.
            "update pgq.queue set queue_switch_step1 = 3, queue_switch_step2 = 3, queue_batch_max_count = 1, queue_ticker_max_count = 1, queue_ticker_max_lag = '0',
                 queue_rotation_period = '0' where queue_name = 'q'",
            "select pgq.insert_event('q', 't', 'd') from generate_series(1, 3)",
        ] {
            run(&mut owner, step);
        }
        let mut mallory = database.connect_as(&role);
        run(&mut mallory, &include_str!("names.sql").replace("MALLORY", &role));
        Self { database, owner, mallory, role }
    }

    /// Put names into the row of a queue, as it may have been done when `pgq_admin` still could.
    fn name(&mut self, queue: &str, names: &str) {
        run(&mut self.owner, &format!("update pgq.queue set {names} where queue_name = '{queue}'"));
    }

    fn assert_nothing_gained(&mut self, what: &str) {
        let gained = format!(
            "select c.is_called or r.rolsuper from evil.caught c, pg_roles r where r.rolname = '{}'",
            self.role
        );
        assert_eq!(row(&mut self.owner, &gained), "f", "{what}");
    }

    fn clear(mut self) {
        let cluster = self.database.cluster();
        run(
            &mut self.owner,
            &format!("reassign owned by {0} to postgres; drop owned by {0}", self.role),
        );
        drop((self.owner, self.mallory, self.database));
        run(&mut cluster.connect("postgres"), &format!("drop role {}", self.role));
    }
}

const OWN: &str = "queue_data_pfx = 'pgq.event_1', queue_event_seq = 'pgq.event_1_id_seq', queue_tick_seq = 'pgq.event_1_tick_seq'";

/// What the attacker calls, and what the owner of the extension, pgqd or monitoring may call in
/// good faith.
const CALLS_ON_TABLES: [&str; 18] = [
    "select pgq.insert_event('q', 't', 'd')",
    "select pgq.insert_events('q', '{t}', '{d}')",
    "select pgq.insert_event_raw('q', 1, now(), null, null, 't', 'd', null, null, null, null)",
    "select pgq.current_event_table('q')",
    "select pgq.ticker('q')",
    "select pgq._tick_on_demand('q')",
    "select pgq.rebase()",
    "select pgq.batch_retry(1, 1)",
    "select pgq.event_retry(1, (select min(ev_id) from pgq.event_template), 1)",
    "select count(*) from pgq.get_batch_events(1)",
    "select pgq.batch_event_sql(1)",
    "select pgq.get_batch_cursor(1, 'c', 10)",
    "select pgq_coop.unregister_subconsumer('q', 'g', 'm', 1)",
    "select pgq.unregister_consumer('q', 'g.m')",
    "select pgq.maint_rotate_tables_step1('q')",
    "select pgq.tune_storage('q')",
    "select pgq.grant_perms('q')",
    "select pgq.drop_queue('q', true)",
];

#[test]
fn a_queue_whose_tables_are_not_its_own_is_left_alone() {
    let mut stage = Stage::set();
    let names = [
        "evil.view",
        "pg_temp.own",
        "evil.checked",
        "evil.indexed",
        "evil.triggered",
        "evil.divided",
        "evil.policed",
        "pgq.event_template",
        "pg_catalog.pg_class",
        "view",
    ];
    for name in names {
        stage.name("q", &format!("queue_data_pfx = '{name}'"));
        for call in CALLS_ON_TABLES {
            for attacker in [true, false] {
                let client = if attacker { &mut stage.mallory } else { &mut stage.owner };
                run(client, "begin");
                let said = outcome(client, call);
                run(client, "rollback");
                // Nothing of these names is there: the template has no parts, and temporary
                // relations are out of sight, so that the sequences would be dropped without the
                // tables that use them.
                let is_refused = ["XX001", "42P01", "2BP01"]
                    .iter()
                    .any(|code| said.starts_with(&format!("ERROR {code}")));
                assert!(is_refused, "{name}: {call}: {said}");
                stage.assert_nothing_gained(&format!("{name}: {call}"));
            }
        }
        // Who looks at all queues goes on.
        for call in [
            "select pgq.ticker()",
            "select count(*) from pgq.metrics()",
            "select count(*) from pgq.queue_health()",
            "select count(*) from pgq.get_queue_info()",
            "select pgq.maint_retry_events()",
        ] {
            let said = outcome(&mut stage.owner, call);
            assert!(!said.starts_with("ERROR"), "{name}: {call}: {said}");
            stage.assert_nothing_gained(&format!("{name}: {call}"));
        }
    }
    // And all of it works as soon as the names are right.
    stage.name("q", OWN);
    for call in CALLS_ON_TABLES {
        run(&mut stage.owner, "begin");
        let said = outcome(&mut stage.owner, call);
        run(&mut stage.owner, "rollback");
        assert!(!said.starts_with("ERROR"), "{call}: {said}");
    }
    stage.clear();
}

/// Calls that read or advance a sequence by the name that stands in the row.
const CALLS_ON_SEQUENCES: [&str; 8] = [
    "select pgq.insert_event('q', 't', 'd')",
    "select pgq.insert_events('q', '{t}', '{d}')",
    "select pgq.ticker('q')",
    "select pgq._tick_on_demand('q')",
    "select pgq.force_tick('q')",
    "select pgq.event_retry_raw('q', 'c', now(), null, now(), 1, 't', 'd', null, null, null, null)",
    "select pgq.grant_perms('q')",
    "select pgq.drop_queue('q', true)",
];

#[test]
fn only_the_queues_own_sequences_are_read_and_advanced() {
    let mut stage = Stage::set();
    let others = [
        "evil.counter",
        "evil.counting",
        "pg_temp.counting",
        "pgq.event_3_id_seq",
        "pgq.event_3_tick_seq",
        "pgq.batch_id_seq",
        "pgq.queue_queue_id_seq",
        "pgq.event_3_0",
        "pg_catalog.pg_class",
    ];
    let values =
        "select string_agg(schemaname || sequencename || coalesce(last_value, 0), ' ' order by 1)
                    from (select * from pg_sequences where sequencename !~ '^event_[12]_'
                        and sequencename <> 'caught') s";
    let before = row(&mut stage.owner, values);
    for name in others {
        stage.name(
            "q",
            &format!("{OWN}, queue_event_seq = '{name}'").replacen(
                "queue_event_seq = 'pgq.event_1_id_seq', ",
                "",
                1,
            ),
        );
        for call in CALLS_ON_SEQUENCES {
            run(&mut stage.mallory, "begin");
            let said = outcome(&mut stage.mallory, call);
            run(&mut stage.mallory, "rollback");
            let is_refused = said.starts_with("ERROR XX001") || said.starts_with("ERROR 42P01");
            assert!(is_refused, "{name}: {call}: {said}");
        }
        for call in [
            "select pgq.ticker()",
            "select count(*) from pgq.metrics()",
            "select count(*) from pgq.queue_health()",
            "select count(*) from pgq.get_queue_info()",
        ] {
            let said = outcome(&mut stage.owner, call);
            let is_harmless = !said.starts_with("ERROR")
                || (call.contains("get_queue_info")
                    && (said.contains("42809") || said.contains("42P01")));
            assert!(is_harmless, "{name}: {call}: {said}");
        }
        stage.assert_nothing_gained(name);
        assert_eq!(row(&mut stage.owner, values), before, "{name}");
    }
    stage.name("q", OWN);
    // Ticks that come from elsewhere set both sequences.
    for column in ["queue_event_seq", "queue_tick_seq"] {
        for name in others {
            stage.name(
                "ext",
                "queue_event_seq = 'pgq.event_2_id_seq', queue_tick_seq = 'pgq.event_2_tick_seq'",
            );
            stage.name("ext", &format!("{column} = '{name}'"));
            let said = outcome(&mut stage.mallory, "select pgq.ticker('ext', 100000, now(), 5000)");
            let is_refused = said.starts_with("ERROR XX001") || said.starts_with("ERROR 42P01");
            assert!(is_refused, "{column} {name}: {said}");
            stage.assert_nothing_gained(name);
            assert_eq!(row(&mut stage.owner, values), before, "{column} {name}");
        }
    }
    stage.name(
        "ext",
        "queue_event_seq = 'pgq.event_2_id_seq', queue_tick_seq = 'pgq.event_2_tick_seq'",
    );
    assert_eq!(
        outcome(&mut stage.mallory, "select pgq.ticker('ext', 100000, now(), 5000)"),
        "100000"
    );
    for call in CALLS_ON_SEQUENCES {
        run(&mut stage.mallory, "begin");
        let said = outcome(&mut stage.mallory, call);
        run(&mut stage.mallory, "rollback");
        assert!(!said.starts_with("ERROR"), "{call}: {said}");
    }
    stage.clear();
}

#[test]
fn who_manages_queues_cannot_write_names() {
    let mut stage = Stage::set();
    for column in ["queue_id", "queue_data_pfx", "queue_event_seq", "queue_tick_seq"] {
        let said =
            outcome(&mut stage.mallory, &format!("update pgq.queue set {column} = {column}"));
        assert!(said.starts_with("ERROR 42501"), "{column}: {said}");
    }
    for attempt in [
        "insert into pgq.queue (queue_name, queue_data_pfx, queue_event_seq, queue_tick_seq) values ('x', 'evil.t', 'evil.s', 'evil.s')",
        "truncate pgq.queue cascade",
        "create trigger t after insert on pgq.tick for each statement execute function evil.pwn_row()",
        "create trigger t after insert on pgq.retry_queue for each statement execute function evil.pwn_row()",
        "create trigger t after insert on pgq.event_1_0 for each statement execute function evil.pwn_row()",
        "create table evil.child () inherits (pgq.event_1_0)",
        "create table evil.child () inherits (pgq.event_template)",
        "create table evil.referring (n integer references pgq.queue)",
        "create table pgq.event_9 (n integer)",
        "alter table pgq.event_1_0 add check (evil.pwn_constant() = 1)",
        "create rule r as on insert to pgq.consumer do also select evil.pwn()",
        "create index on pgq.subscription ((evil.pwn_constant() + sub_id))",
        "create policy p on pgq.subscription using (evil.pwn() = 1)",
    ] {
        let said = outcome(&mut stage.mallory, attempt);
        assert!(said.starts_with("ERROR 42501"), "{attempt}: {said}");
    }
    // What is not a name is theirs as it was.
    let columns = "select string_agg(attname, ' ') from pg_attribute
                    where attrelid = 'pgq.queue'::regclass and attnum > 0 and not attisdropped
                      and attname not in ('queue_id', 'queue_data_pfx', 'queue_event_seq',
                          'queue_tick_seq')";
    let columns = row(&mut stage.owner, columns);
    for column in columns.split(' ') {
        run(&mut stage.mallory, &format!("update pgq.queue set {column} = {column}"));
    }
    run(
        &mut stage.mallory,
        "begin; delete from pgq.tick; delete from pgq.subscription; delete from pgq.queue; rollback",
    );
    stage.assert_nothing_gained("in the end");
    stage.clear();
}

/// `pgq tail` and `pgq dead` read the tables with the rights of whoever looks.
#[test]
fn the_client_reads_event_tables_only() {
    let mut stage = Stage::set();
    let tail = ["tail", "q", "--no-follow"];
    assert!(run_pgq(&stage.database, &tail).status.success());
    run(&mut stage.owner, "select pgq.register_consumer('q', 'dead_letters')");
    let list = ["dead", "list", "q"];
    assert!(run_pgq(&stage.database, &list).status.success());
    for name in ["evil.view", "evil.policed", "pg_catalog.pg_class"] {
        stage.name("q", &format!("queue_data_pfx = '{name}'"));
        for arguments in [&tail[..], &list] {
            let output = run_pgq(&stage.database, arguments);
            assert!(!output.status.success(), "{name}: {arguments:?}");
            stage.assert_nothing_gained(&format!("{name}: {arguments:?}"));
        }
    }
    stage.clear();
}

#[test]
fn tables_of_a_restored_or_adopted_queue_are_its_own() {
    let database = scratch_database();
    let mut client = database.connect();
    let dba = format!("{}_dba", database.name());
    run(&mut client, &format!("select pgq.create_queue('q'); create role {dba} superuser"));
    // A dump gives the tables back to whoever had them, and the extension to whoever restores.
    let tables = rows(
        &mut client,
        "select oid::regclass from pg_class where relnamespace = 'pgq'::regnamespace and relname ~ '^event_1' and relkind = 'r'",
    );
    for table in &tables {
        run(&mut client, &format!("alter table {table} owner to {dba}"));
    }
    for sequence in ["pgq.event_1_id_seq", "pgq.event_1_tick_seq"] {
        run(&mut client, &format!("alter sequence {sequence} owner to {dba}"));
    }
    let insert = "select pgq.insert_event('q', 't', 'd') > 0";
    assert_eq!(outcome(&mut client, insert), "t");
    // A former superuser's tables could carry that one's code. A session that has not looked at the
    // queue before says so.
    run(&mut client, &format!("alter role {dba} nosuperuser"));
    assert_eq!(
        outcome(&mut database.connect(), insert),
        "ERROR XX001: relation \"pgq.event_1_id_seq\" is not a sequence of a queue"
    );
    run(&mut client, "alter sequence pgq.event_1_id_seq owner to postgres");
    assert_eq!(
        outcome(&mut database.connect(), insert),
        "ERROR XX001: relation \"pgq.event_1_0\" is not an event table"
    );
    run(&mut client, &format!("reassign owned by {dba} to postgres"));
    assert_eq!(outcome(&mut database.connect(), insert), "t");
    // Tables in another schema, for who has put them there.
    run(&mut client, "create schema archive");
    for table in &tables {
        run(&mut client, &format!("alter table {table} set schema archive"));
    }
    run(&mut client, "update pgq.queue set queue_data_pfx = 'archive.event_1'");
    assert_eq!(outcome(&mut database.connect(), insert), "t");
    run(&mut client, &format!("alter schema archive owner to {dba}"));
    let said = outcome(&mut database.connect(), insert);
    assert_eq!(said, "ERROR XX001: relation \"archive.event_1_0\" is not an event table");
    run(&mut client, &format!("drop schema archive cascade; drop role {dba}"));
}
