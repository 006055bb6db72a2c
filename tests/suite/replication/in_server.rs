//! The worker inside the server: how it is started and ended, as whom it works, and what happens
//! to it and to others when something goes wrong.

use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{PATIENCE, Tree, wait_until};
use postgres::Client;

use super::set::{Driver, Set, WORKS, await_turns};

/// A root and a leaf with table `t`, which is in sync.
pub(super) fn set() -> Set {
    let set = Set::driven(Driver::Server, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key, v text)");
        set.attach(name, "public.t", "expect_sync");
    }
    set
}

/// The process that works for queue `q`.
pub(super) fn pid(client: &mut Client) -> String {
    let mut pid = String::new();
    let works = || {
        pid = row(client, "select pid from londiste.worker_status('q')");
        pid != "∅" && pid != "nothing"
    };
    assert!(wait_until(PATIENCE, works), "no worker");
    pid
}

/// Wait until a query has this answer.
pub(super) fn awaits(client: &mut Client, sql: &str, answer: &str) {
    let mut last = String::new();
    let reached = wait_until(PATIENCE, || {
        last = rows(client, sql).join("\n");
        last == answer
    });
    let status = outcome(client, "select w from londiste.worker_status() w");
    assert!(reached, "{sql}: {last}, not {answer}; {status}");
}

#[test]
fn a_row_is_there_without_anybody_else_at_work() {
    let set = set();
    let _workers = [set.start("root", None), set.start("leaf", None)];
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    pid(&mut leaf);
    // Nobody calls pgq.ticker().
    run(&mut root, "insert into t values (1, 'a')");
    awaits(&mut leaf, "select v from t", "a");
    run(&mut root, "update t set v = 'b'");
    awaits(&mut leaf, "select v from t", "b");
    const STATUS: &str = "select queue_name, worker_role, parallel_copies, state, error
                            from londiste.worker_status()";
    awaits(&mut leaf, STATUS, "q|postgres|2|working|∅");
    let again = "select ret_code, ret_note from londiste.start_worker('q', 2)";
    assert_eq!(row(&mut leaf, again), "200|Worker runs already for queue: q");
    let unknown = "select * from londiste.start_worker('none')";
    assert_eq!(row(&mut leaf, unknown), "404|No such node: none");
    assert_eq!(
        row(&mut leaf, "select * from londiste.stop_worker('q')"),
        "200|Worker stopped for queue: q"
    );
    awaits(&mut leaf, WORKS, "0");
    let again = "select * from londiste.stop_worker('q')";
    assert_eq!(row(&mut leaf, again), "404|No worker for queue: q");
}

/// Whatever goes wrong in the middle of a batch, nothing of it stays, and no lock or transaction.
#[test]
fn an_event_that_cannot_be_applied_leaves_nothing_open_and_nothing_done() {
    let set = set();
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    run(&mut leaf, "alter table t alter v type varchar(3)");
    let _worker = set.start("leaf", None);
    let worker = pid(&mut leaf);
    let stuck = |leaf: &mut Client, code: &str| {
        let status = "select sqlstate, event_id is not null, attempts > 1
                        from londiste.worker_status('q')";
        awaits(leaf, status, &format!("{code}|t|t"));
        let open = format!(
            "select count(*) from pg_locks
              where pid = {worker} and relation = 't'::regclass"
        );
        awaits(leaf, &open, "0");
        assert_eq!(row(leaf, "select count(*) from t where id between 10 and 19"), "0");
    };
    // A value that is too long, between two rows that are not.
    run(
        &mut root,
        "begin; insert into t values (10, 'a'); insert into t values (11, 'too long');
         insert into t values (12, 'c'); commit",
    );
    stuck(&mut leaf, "22001");
    run(&mut leaf, "alter table t alter v type text");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");

    // A row that is there, where the page was reduced and where it was not.
    run(&mut root, "delete from t");
    set.await_sync("root", "leaf");
    run(
        &mut leaf,
        "set session_replication_role = replica; insert into t values (21, 'in the way')",
    );
    run(
        &mut root,
        "begin; insert into t values (10, 'a'); insert into t values (21, 'b');
         insert into t values (12, 'c'); update t set v = 'd' where id = 10; commit",
    );
    stuck(&mut leaf, "23505");
    let words = "select error like 'event %, table \"public.t\": %Key (id)=(21) already exists.%'
                   from londiste.worker_status('q')";
    assert_eq!(row(&mut leaf, words), "t");
    run(&mut leaf, "delete from t where id = 21");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
    awaits(&mut leaf, "select state, error from londiste.worker_status('q')", "working|∅");
    // It was the same process all the time.
    assert_eq!(pid(&mut leaf), worker);
}

#[test]
fn a_cancelled_statement_and_a_deadlock_are_tried_again() {
    let set = set();
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    run(&mut root, "insert into t values (1, 'a'), (2, 'a')");
    let _worker = set.start("leaf", None);
    set.await_sync("root", "leaf");
    let worker = pid(&mut leaf);
    let mut holder = set.connect("leaf");
    run(&mut holder, "begin; lock table t in access exclusive mode");
    run(&mut root, "insert into t values (3, 'a')");
    let waits = format!("select count(*) from pg_locks where pid = {worker} and not granted");
    awaits(&mut leaf, &waits, "1");
    assert_eq!(row(&mut leaf, &format!("select pg_cancel_backend({worker})")), "t");
    awaits(&mut leaf, "select sqlstate from londiste.worker_status('q')", "57014");
    run(&mut holder, "commit");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");

    // It finds out about the deadlock first.
    run(
        &mut holder,
        "set session_replication_role = replica; set deadlock_timeout = '1h';
         begin; update t set v = v where id = 2",
    );
    // Each of these in its order.
    run(
        &mut root,
        "begin; update t set v = 'b' where id = 1; delete from t where id = 3;
         insert into t values (3, 'c'); update t set v = 'b' where id = 2; commit",
    );
    awaits(&mut leaf, &waits, "1");
    let answer = outcome(&mut holder, "update t set v = v where id in (1, 3)");
    assert!(!answer.starts_with("ERROR"), "{answer}");
    run(&mut holder, "commit");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
    assert_eq!(pid(&mut leaf), worker);
}

#[test]
fn a_worker_here_and_a_program_wait_for_each_other() {
    let set = set();
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    let mut inside = set.start("leaf", None);
    let worker = pid(&mut leaf);
    let mut program = set.start_program("leaf");
    let waits = || set.program_said("leaf").contains("waits for another worker of queue");
    assert!(wait_until(PATIENCE, waits), "{}", set.program_said("leaf"));
    assert!(set.program_said("leaf").contains(&format!("server process {worker}")));
    run(&mut root, "insert into t values (1, 'by the server')");
    set.await_sync("root", "leaf");
    inside.kill();
    run(&mut root, "insert into t values (2, 'by the program')");
    set.await_sync("root", "leaf");
    let program_pid = "select pid from pg_stat_activity
                        where datname = current_database() and application_name = 'leaf_worker'
                          and backend_type = 'client backend'";
    let program_pid = row(&mut leaf, program_pid);
    let _inside = set.start("leaf", None);
    awaits(&mut leaf, WORKS, "1");
    awaits(&mut leaf, "select pid from londiste.worker_status('q')", &program_pid);
    program.kill();
    run(&mut root, "insert into t values (3, 'by the server')");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
    assert!(!set.program_said("leaf").contains("works without a lock"));
}

#[test]
fn a_lock_that_a_trigger_has_given_up_is_taken_again() {
    let set = set();
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    run(
        &mut leaf,
        "create function give_up() returns trigger language plpgsql as
         'begin perform pg_advisory_unlock_all(); return new; end';
         create trigger give_up before insert on t for each row execute function give_up();
         alter table t enable always trigger give_up",
    );
    let _worker = set.start("leaf", None);
    let worker = pid(&mut leaf);
    run(&mut root, "insert into t values (1, 'a')");
    set.await_sync("root", "leaf");
    awaits(&mut leaf, "select pid from londiste.worker_status('q')", &worker);
}

#[test]
fn whoever_writes_the_table_of_workers_lets_one_run_as_himself() {
    let set = set();
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    let admin = set.role("leaf", "admin");
    run(
        &mut leaf,
        &format!("grant londiste_writer to {admin}; grant usage on foreign server root to {admin}"),
    );
    let mut own = set.connect_as("leaf", &admin);
    const ROW: &str = "select worker_role::regrole, parallel_copies from londiste.worker";
    // No trigger can be gone around, and no role named.
    run(&mut own, "select londiste.set_session_replication_role('replica', false)");
    run(&mut own, "insert into londiste.worker (queue_name, worker_role) values ('q', 10)");
    assert_eq!(row(&mut own, ROW), format!("{admin}|1"));
    run(&mut own, "update londiste.worker set worker_role = 10, system_id = 1, database_oid = 1");
    assert_eq!(row(&mut own, ROW), format!("{admin}|1"));
    run(&mut leaf, "update londiste.worker set parallel_copies = 2");
    assert_eq!(row(&mut leaf, ROW), format!("{admin}|2"));
    // As that role it may not connect anywhere without a password.
    let status = "select sqlstate, error like 'a password is required%'
                    from londiste.worker_status('q') where sqlstate is not null";
    awaits(&mut leaf, status, "28000|t");
    let mine = format!("select usename from pg_stat_activity where pid = {}", pid(&mut leaf));
    assert_eq!(row(&mut leaf, &mine), admin);

    // Whoever has more rights and calls gives them; the process is another one then.
    let _worker = set.start("leaf", None);
    assert_eq!(row(&mut leaf, ROW), "postgres|2");
    run(&mut root, "insert into t values (1, 'a')");
    set.await_sync("root", "leaf");
    let before = pid(&mut leaf);
    run(&mut leaf, "update londiste.worker set parallel_copies = 3");
    assert_eq!(row(&mut leaf, ROW), "postgres|3");
    assert!(wait_until(PATIENCE, || pid(&mut leaf) != before));
    // What belongs to a superuser and is turned to another queue is a superuser's no more.
    run(&mut own, "update londiste.worker set nr = nr + 1");
    assert_eq!(row(&mut own, ROW), format!("{admin}|3"));
    run(&mut leaf, &format!("drop owned by {admin}; delete from londiste.worker"));
    awaits(&mut leaf, WORKS, "0");
    drop(own);
    run(&mut leaf, &format!("drop role {admin}"));

    run(&mut leaf, "create role sleeps; grant londiste_writer to sleeps; set role sleeps");
    let answer = outcome(&mut leaf, "select londiste.start_worker('q')");
    assert_eq!(answer, "ERROR 55000: role \"sleeps\" may not log in");
    run(&mut leaf, "reset role; drop role sleeps");
}

/// Names of roles are names, whatever they look like.
#[test]
fn a_role_with_an_odd_name_is_no_other_role() {
    let set = set();
    let mut leaf = set.connect("leaf");
    for name in ["10", "-", "POSTGRES", "Odd \"one\""] {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        run(&mut leaf, &format!("create role {quoted} login; grant londiste_writer to {quoted}"));
        run(&mut leaf, &format!("grant usage on foreign server root to {quoted}"));
        run(&mut leaf, &format!("set role {quoted}; select londiste.start_worker('q')"));
        run(&mut leaf, "reset role");
        let right = format!(
            "select usename from pg_stat_activity where pid = {} and not exists (
                 select from pg_roles r where r.rolname = usename and r.rolsuper)",
            pid(&mut leaf)
        );
        assert_eq!(row(&mut leaf, &right), name);
        run(&mut leaf, "select londiste.stop_worker('q')");
        awaits(&mut leaf, WORKS, "0");
        run(&mut leaf, &format!("drop owned by {quoted}; drop role {quoted}"));
    }
}

/// What a superuser's worker is sent is run as superuser.
#[test]
fn a_superusers_worker_goes_where_a_superuser_has_sent_it() {
    let set = set();
    let mut leaf = set.connect("leaf");
    let other = set.role("leaf", "other");
    run(&mut leaf, &format!("grant usage on foreign data wrapper londiste_fdw to {other}"));
    run(&mut leaf, &format!("alter server root owner to {other}"));
    let _worker = set.start("leaf", None);
    const ERROR: &str = "select sqlstate, error from londiste.worker_status('q')
                          where sqlstate is not null";
    let words = "the worker is a superuser, and foreign server \"root\" is no superuser's";
    awaits(&mut leaf, ERROR, &format!("28000|{words}"));
    run(&mut leaf, "alter server root owner to postgres");
    // Nor by one that a superuser has made for others: it is not the superuser who names the node.
    awaits(&mut leaf, "select state, error from londiste.worker_status('q')", "working|∅");
    run(
        &mut leaf,
        "drop user mapping for postgres server root;
         create user mapping for public server root options (user 'postgres');
         select londiste.start_worker('q', 3)",
    );
    let words = "the worker is a superuser, and foreign server \"root\" has no user mapping for it";
    awaits(&mut leaf, ERROR, &format!("28000|{words}"));
    run(&mut leaf, "drop server root cascade");
    awaits(&mut leaf, ERROR, "28000|there is no foreign server for node \"root\"");
    run(&mut leaf, &format!("drop owned by {other}; drop role {other}"));
}

#[test]
fn what_a_trigger_sets_is_not_for_the_next_batch() {
    let set = set();
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    let name = row(&mut leaf, "select current_database()");
    run(&mut leaf, &format!("alter database {name} set synchronous_commit = off"));
    run(
        &mut leaf,
        "create table seen (id int, what text);
         create function meddle() returns trigger language plpgsql as $$
         begin
             insert into seen values (new.id, pg_catalog.concat_ws(' ', current_user,
                 current_setting('datestyle'), current_setting('synchronous_commit'),
                 to_regclass('pg_temp.trap')));
             perform set_config('datestyle', 'SQL, DMY', false),
                     set_config('synchronous_commit', 'off', false);
             create temp table if not exists trap (a int);
             return new;
         end $$;
         create trigger meddle before insert on t for each row execute function meddle();
         alter table t enable always trigger meddle",
    );
    let _worker = set.start("leaf", None);
    for id in 1..4 {
        run(&mut root, &format!("insert into t values ({id}, 'a')"));
        let seen = format!("select what from seen where id = {id}");
        awaits(&mut leaf, &seen, "postgres ISO, MDY local");
    }
}

/// A table of that name that is not the extension's could name any role.
#[test]
fn a_table_of_workers_that_somebody_else_has_made_is_none() {
    let set = Set::driven(Driver::Server, &[("root", Tree::Ours)]);
    let mut client = set.connect("root");
    run(
        &mut client,
        "drop extension londiste; create schema londiste;
         create table londiste.worker (nr int, queue_name text, worker_role oid,
             parallel_copies int, database_oid oid, system_id int8);
         grant usage on schema londiste to public; grant select on londiste.worker to public;
         insert into londiste.worker select 1, 'q', 10, 1, d.oid, s.system_identifier
           from pg_database d, pg_control_system() s where datname = current_database()",
    );
    // The pgq worker looks more than twice a second: the schema is new to it.
    for _ in 0..5 {
        await_turns(&mut client, "pgq worker", 1);
        assert_eq!(row(&mut client, WORKS), "0");
    }
}

#[test]
fn a_copy_of_the_database_does_not_work() {
    let set = set();
    let mut leaf = set.connect("leaf");
    let _worker = set.start("leaf", None);
    pid(&mut leaf);
    let name = row(&mut leaf, "select current_database()");
    drop(leaf);
    // Workers give way.
    let mut other = set.connect("root");
    run(&mut other, &format!("create database {name}_copy template {name}"));
    let mut copy = set.connect_to("leaf", &format!("{name}_copy"));
    awaits(&mut copy, "select state from londiste.worker_status()", "not asked for here");
    let pgq = "select count(*) from pg_stat_activity
                where datname = current_database() and backend_type = 'pgq worker'";
    awaits(&mut copy, pgq, "1");
    assert_eq!(row(&mut copy, WORKS), "0");
    pid(&mut set.connect("leaf"));
    drop(copy);
    run(&mut other, &format!("drop database {name}_copy"));
}

/// Statements in londiste.pending_fkeys are run with the worker's rights.
#[test]
fn of_parked_foreign_keys_only_foreign_keys_are_made() {
    let set = set();
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    run(&mut leaf, "create table marks (what text)");
    for (name, key, more) in [
        ("evil", "id", "; insert into marks values (''x'')"),
        ("wrong", "v", ""),
        ("good", "id", ""),
    ] {
        let add = format!(
            "alter table only public.t add constraint {name} foreign key ({key})
                 references public.t (id){more}"
        );
        run(
            &mut leaf,
            &format!(
                "insert into londiste.pending_fkeys (from_table, to_table, fkey_name, fkey_def)
                 values ('public.t', 'public.t', '{name}', '{add}')"
            ),
        );
    }
    let _worker = set.start("leaf", None);
    run(&mut root, "insert into t values (1, 'a')");
    awaits(&mut leaf, "select fkey_name from londiste.pending_fkeys order by 1", "evil\nwrong");
    set.await_sync("root", "leaf");
    assert_eq!(row(&mut leaf, "select count(*) from marks"), "0");
    const KEYS: &str = "select conname from pg_constraint
                         where conrelid = 't'::regclass and contype = 'f' and convalidated";
    assert_eq!(rows(&mut leaf, KEYS), ["good"]);
}

#[test]
fn texts_come_through_whatever_the_databases_and_the_role_say_of_them() {
    let mut set = Set::driven(Driver::Server, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.remake_in_latin1("leaf");
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    let name = row(&mut leaf, "select current_database()");
    run(
        &mut leaf,
        &format!(
            "alter database {name} set client_encoding = 'UTF8';
             alter database {name} set datestyle = 'SQL, DMY';
             alter database {name} set intervalstyle = iso_8601;
             alter database {name} set bytea_output = escape;
             alter database {name} set default_transaction_isolation = serializable"
        ),
    );
    let other = row(&mut root, "select current_database()");
    run(&mut root, &format!("alter database {other} set client_encoding = 'LATIN1'"));
    const TABLE: &str = "create table t (id int primary key, v text, d date, i interval, b bytea)";
    run(&mut root, TABLE);
    run(&mut leaf, TABLE);
    const ROWS: &str = r"insert into t
        select n, E'l\u00f6we\t\\N ' || n, '2024-02-03', '1 day 02:00', '\x00ff'
          from generate_series";
    run(&mut root, &format!("{ROWS}(1, 100) n"));
    set.attach("root", "public.t", "");
    set.attach("leaf", "public.t", "");
    // This session goes on as it was.
    run(&mut leaf, &format!("alter database {name} set default_transaction_read_only = on"));
    run(&mut leaf, "select londiste.start_worker('q')");
    set.await_sync("root", "leaf");
    run(&mut root, &format!("{ROWS}(101, 110) n; update t set v = v || 'é' where id < 5"));
    set.await_sync("root", "leaf");
    const SAME: &str = "select id, v, d::text, extract(epoch from i), encode(b, 'hex')
                          from t order by id";
    run(&mut leaf, "set datestyle = iso");
    for (here, there) in rows(&mut root, SAME).iter().zip(rows(&mut leaf, SAME)) {
        assert_eq!(*here, there.replace("03/02/2024", "2024-02-03"));
    }
    assert_eq!(row(&mut leaf, "select count(*) from t where v like 'löwe%'"), "110");
}

/// Where nobody asks for a worker, nobody reads the table for it.
#[test]
fn who_does_not_replicate_pays_nothing() {
    let set = Set::driven(Driver::Server, &[("root", Tree::Ours)]);
    let mut client = set.connect("root");
    const SCANS: &str = "select coalesce(seq_scan, 0) + coalesce(idx_scan, 0)
                           from pg_stat_all_tables where relid = 'londiste.worker'::regclass";
    // The pgq worker looks more than twice a second, and tells its counts once.
    await_turns(&mut client, "pgq worker", 3);
    let before = row(&mut client, SCANS);
    await_turns(&mut client, "pgq worker", 5);
    assert_eq!(row(&mut client, SCANS), before);
}
