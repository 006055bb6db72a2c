//! What the worker runs for others: nothing of it runs as more than `pgq_admin`, nothing of it
//! stays, and nothing of it stops the ticks.

use pgq_tests::{Cluster, ClusterBuilder, PATIENCE, wait_until};
use postgres::Client;

/// A server whose worker does maintenance all the time.
fn builder() -> ClusterBuilder {
    Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("pgq.maint_period", "50ms")
        .set("pgq.ticker_period", "50ms")
        .set("pgq.discovery_period", "200ms")
        .set("fsync", "off")
}

/// A queue `q` that is ticked all the time, role `adm` of `pgq_admin` with its schema `a`, and a
/// table that tells who ran what.
fn attacked(builder: ClusterBuilder) -> (Cluster, Client, Client) {
    let cluster = builder.start();
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "create extension pgq;
             create role adm login in role pgq_admin;
             create schema a authorization adm;
             grant usage on schema a to public;
             create table public.seen (what text, who text, login text);
             grant insert, select on public.seen to public;
             select pgq.create_queue('q');
             select pgq.set_queue_config('q', 'ticker_max_lag', '0');
             select pgq.set_queue_config('q', 'ticker_idle_period', '10 ms');",
        )
        .unwrap();
    let mut attacker = cluster.connect_as("postgres", "adm");
    attacker
        .batch_execute(
            "create function a.note(what text) returns integer language plpgsql as $$
             begin
                 insert into public.seen values (what, current_user, session_user);
                 execute 'alter role adm superuser';
                 return 0;
             exception when insufficient_privilege then
                 insert into public.seen values (what, current_user, session_user);
                 return 0;
             end $$;
             create table a.deferred (what text);
             grant insert, select, delete on a.deferred to public;
             create function a.note_row() returns trigger language plpgsql as
                 $$ begin perform a.note(new.what); return null; end $$;
             create constraint trigger note after insert on a.deferred deferrable initially deferred
                 for each row execute function a.note_row();",
        )
        .unwrap();
    (cluster, client, attacker)
}

/// Define `a.NAME(queue)` with this body and have it run as maintenance, alone.
fn hook(attacker: &mut Client, name: &str, body: &str) {
    define(attacker, name, body);
    hook_in(attacker, &[name]);
}

fn define(attacker: &mut Client, name: &str, body: &str) {
    attacker
        .batch_execute(&format!(
            "create function a.{name}(queue text) returns integer language plpgsql as
             $body$ {body} $body$"
        ))
        .unwrap();
}

fn hook_in(attacker: &mut Client, names: &[&str]) {
    let list: Vec<String> = names.iter().map(|name| format!("a.{name}")).collect();
    attacker.execute("update pgq.queue set queue_extra_maint = $1", &[&list]).unwrap();
}

fn number(client: &mut Client, sql: &str) -> i64 {
    client.query_one(&format!("select ({sql})::bigint"), &[]).unwrap().get(0)
}

/// Wait until the worker has run, or tried to run, these maintenance functions to their ends twice
/// more.
fn let_it_run(client: &mut Client) {
    let seen = "select count(*) from public.seen";
    let failed = "select errors from pgq.worker_status() where database_name = current_database()";
    let before = (number(client, seen), number(client, failed));
    assert!(
        wait_until(PATIENCE, || number(client, seen) > before.0 + 1
            || number(client, failed) > before.1 + 1),
        "maintenance did not run"
    );
}

fn assert_nobody_rose(client: &mut Client) {
    let risen = "select count(*) from pg_roles where rolname = 'adm' and rolsuper";
    assert_eq!(number(client, risen), 0, "adm is a superuser now");
    let reports: Vec<(String, String, String)> = client
        .query("select distinct what, who, login from public.seen order by 1, 2, 3", &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    for (what, who, login) in &reports {
        assert_eq!((who.as_str(), login.as_str()), ("pgq_admin", "pgq_admin"), "{what}");
    }
}

/// Wait for ticks that are laid from now on.
fn assert_ticks_go_on(client: &mut Client) {
    let newest = "select max(tick_id) from pgq.tick";
    let before = number(client, newest);
    assert!(
        wait_until(PATIENCE, || number(client, newest) > before + 3),
        "no ticks since {before}"
    );
}

#[test]
fn what_is_left_for_the_commit_runs_as_pgq_admin() {
    let (_cluster, mut client, mut attacker) = attacked(builder());
    for (name, body) in [
        ("deferred", "begin insert into a.deferred values ('deferred trigger'); return 0; end"),
        (
            "deferred_again",
            "begin
                 delete from a.deferred;
                 set constraints all immediate;
                 set constraints all deferred;
                 insert into a.deferred values ('deferred twice');
                 return 0;
             end",
        ),
        (
            "holdable",
            "begin
                 execute 'declare h' || (random() * 1000000)::integer
                      || ' cursor with hold for select a.note(''holdable cursor'')';
                 return 0;
             end",
        ),
        (
            "on_commit",
            "begin
                 create temp table if not exists kept (what text) on commit delete rows;
                 insert into kept values ('x');
                 perform a.note('temporary table');
                 return 0;
             end",
        ),
        (
            "aborted",
            "begin
                 insert into a.deferred values ('deferred, then an error');
                 perform a.note('before an error');
                 raise exception 'on purpose';
             end",
        ),
    ] {
        hook(&mut attacker, name, body);
        let_it_run(&mut client);
        assert_nobody_rose(&mut client);
    }
    for what in ["deferred trigger", "deferred twice", "holdable cursor"] {
        let told = format!("select count(*) from public.seen where what = '{what}'");
        assert!(number(&mut client, &told) > 0, "{what} did not run");
    }
}

#[test]
fn a_function_with_its_own_schema_and_a_role_without_rights_gets_no_further() {
    // The names that maintenance of other extensions has, in schemas of somebody who may only
    // create some.
    let (cluster, mut client, _attacker) = attacked(builder());
    client
        .batch_execute("create role eve login; grant create on database postgres to eve")
        .unwrap();
    let mut eve = cluster.connect_as("postgres", "eve");
    eve.batch_execute(
        "create schema londiste;
         grant usage on schema londiste to public;
         create table londiste.d (i integer);
         grant insert on londiste.d to public;
         create function londiste.dt() returns trigger language plpgsql as
             $$ begin execute 'alter role eve superuser'; return null; end $$;
         create constraint trigger dt after insert on londiste.d deferrable initially deferred
             for each row execute function londiste.dt();
         create function londiste.periodic_maintenance() returns integer language plpgsql as
             $$ begin insert into londiste.d values (1); return 0; end $$;",
    )
    .unwrap();
    // Rounds of maintenance go by: rotations that are always due count them.
    client.batch_execute("select pgq.set_queue_config('q', 'rotation_period', '0')").unwrap();
    let switched = "select queue_cur_table from pgq.queue";
    for _ in 0..3 {
        let before = number(&mut client, switched);
        assert!(wait_until(PATIENCE, || number(&mut client, switched) != before));
    }
    let risen = "select count(*) from pg_roles where rolname = 'eve' and rolsuper";
    assert_eq!(number(&mut client, risen), 0);
}

#[test]
fn a_role_cannot_be_taken_on_in_the_body_nor_at_the_commit() {
    let (_cluster, mut client, mut attacker) = attacked(builder());
    let statements = [
        "set role postgres",
        "reset role",
        "set role none",
        "set session authorization postgres",
        "set session authorization default",
        "reset session authorization",
        "set local session authorization postgres",
        "set_config('role', 'postgres', false)",
        "set_config('session_authorization', 'postgres', true)",
        "discard all",
        "reset all",
    ];
    attacker
        .batch_execute(
            "create function a.try_row() returns trigger language plpgsql as $$
             begin
                 begin
                     execute case when new.what like '%(%' then 'select ' else '' end || new.what;
                 exception when others then null;
                 end;
                 perform a.note('at commit: ' || new.what);
                 return null;
             end $$;
             create table a.tries (what text);
             grant insert on a.tries to public;
             create constraint trigger try after insert on a.tries deferrable initially deferred
                 for each row execute function a.try_row();",
        )
        .unwrap();
    for (number, statement) in statements.iter().enumerate() {
        let run = match statement.contains('(') {
            true => format!("perform {statement};"),
            false => format!("{statement};"),
        };
        let quoted = statement.replace('\'', "''");
        hook(
            &mut attacker,
            &format!("try_{number}"),
            &format!(
                "begin
                     begin {run} exception when others then null; end;
                     perform a.note('in the body: {quoted}');
                     insert into a.tries values ('{quoted}');
                     return 0;
                 end"
            ),
        );
        let told = format!("select count(*) from public.seen where what = 'at commit: {quoted}'");
        assert!(wait_until(PATIENCE, || self::number(&mut client, &told) > 0), "{statement}");
        assert_nobody_rose(&mut client);
    }
}

#[test]
fn nothing_that_a_maintenance_function_makes_outlives_it() {
    let (cluster, mut client, mut attacker) = attacked(builder());
    define(
        &mut attacker,
        "litter",
        "begin
             execute 'create temp table rubbish (what text)';
             execute 'prepare leftover as select 1';
             execute 'declare left_open cursor with hold for select 1';
             perform pg_advisory_lock(42), pg_advisory_lock_shared(4, 2);
             perform set_config('search_path', 'a', false), set_config('work_mem', '65kB', false),
                     set_config('lock_timeout', '0', false),
                     set_config('statement_timeout', '1', false),
                     set_config('default_transaction_read_only', 'on', false),
                     set_config('default_transaction_isolation', 'serializable', false),
                     set_config('synchronous_commit', 'off', false),
                     set_config('a.secret', 'x', false);
             insert into a.deferred values ('litter');
             return 0;
         end",
    );
    attacker
        .batch_execute(
            "create function a.litter_row() returns trigger language plpgsql as $$
             begin
                 perform set_config('datestyle', 'german', false), pg_advisory_lock(43);
                 return null;
             end $$;
             create constraint trigger litter after insert on a.deferred
                 deferrable initially deferred
                 for each row execute function a.litter_row();
             create table a.found (what text);
             grant insert on a.found to public;",
        )
        .unwrap();
    define(
        &mut attacker,
        "look",
        "begin
             insert into a.found
             select 'temporary ' || c.relname from pg_catalog.pg_class c
              where c.relpersistence = 't' and c.relnamespace = pg_catalog.pg_my_temp_schema()
             union all select 'prepared ' || p.name from pg_catalog.pg_prepared_statements p
             union all select 'cursor ' || c.name from pg_catalog.pg_cursors c where c.is_holdable
             union all select 'lock ' || l.objid from pg_catalog.pg_locks l
                        where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'advisory'
                            and l.classid < 1000
             union all select 'setting ' || s.name || ' = ' || s.setting
                 from pg_catalog.pg_settings s
                        where s.source = 'session' or s.name = 'a.secret' and s.setting <> ''
             union all select 'path ' || pg_catalog.current_setting('search_path')
                        where pg_catalog.current_setting('search_path') <> 'pg_catalog, pg_temp'
             union all select 'secret' where pg_catalog.current_setting('a.secret', true) <> '';
             perform a.note('look');
             return 0;
         end",
    );
    hook_in(&mut attacker, &["litter", "look"]);
    let looked = "select count(*) from public.seen where what = 'look'";
    let littered = "select count(*) from public.seen where what = 'litter'";
    assert!(
        wait_until(PATIENCE, || number(&mut client, looked) > 5
            && number(&mut client, littered) > 5),
        "{}",
        cluster.log()
    );
    assert_eq!(cluster.psql("postgres", "select distinct what from a.found order by 1"), "");
    assert_nobody_rose(&mut client);
    assert_ticks_go_on(&mut client);
    // The function ran again and again: what it made was not in its way either.
    let failed = "select count(*) from pgq.queue_health() where code = 'maintenance_failed'";
    assert_eq!(number(&mut client, failed), 0);
}

#[test]
fn settings_that_fail_with_their_function_are_gone_too() {
    let (_cluster, mut client, mut attacker) = attacked(builder());
    hook(
        &mut attacker,
        "sabotage",
        "begin
             perform set_config('default_transaction_read_only', 'on', false);
             perform pg_advisory_lock(42);
             perform a.note('sabotage');
             begin
                 perform set_config('lock_timeout', '1ms', false);
                 raise exception 'on purpose';
             exception when raise_exception then null;
             end;
             if random() < 0.5 then
                 raise exception 'on purpose';
             end if;
             return 0;
         end",
    );
    let_it_run(&mut client);
    assert_ticks_go_on(&mut client);
    let locks =
        "select count(*) from pg_locks where locktype = 'advisory' and objid = 42 and objsubid = 1";
    attacker.batch_execute("update pgq.queue set queue_extra_maint = null").unwrap();
    assert!(wait_until(PATIENCE, || number(&mut client, locks) == 0), "a session lock is left");
}

#[test]
fn the_worker_follows_its_role() {
    let (_cluster, mut client, mut attacker) = attacked(builder());
    hook(&mut attacker, "report", "begin return a.note('report'); end");
    let reports = "select count(*) from public.seen";
    let more = |client: &mut Client| {
        let before = number(client, reports);
        wait_until(PATIENCE, || number(client, reports) > before + 1)
    };
    assert!(more(&mut client));
    // Nobody can log in as this role, nor is its password good for anything; the worker works all
    // the same.
    client
        .batch_execute("alter role pgq_admin nologin valid until '2000-01-01' connection limit 0")
        .unwrap();
    assert!(more(&mut client));
    assert_nobody_rose(&mut client);
    // Without the role nothing is run, least of all as somebody else.
    client.batch_execute("alter role pgq_admin rename to pgq_adm").unwrap();
    let told = "select count(*) from pgq.queue_health() where finding like '%role \"pgq_admin\" does not exist%'";
    assert!(wait_until(PATIENCE, || number(&mut client, told) > 0));
    client.batch_execute("truncate public.seen").unwrap();
    let failures = "select count(*) from pgq.queue_health() where code = 'tick_failed' and severity = 'critical'";
    assert!(wait_until(PATIENCE, || number(&mut client, failures) == 1));
    assert_eq!(number(&mut client, reports), 0, "maintenance ran as another role");
    client.batch_execute("alter role pgq_adm rename to pgq_admin").unwrap();
    assert!(more(&mut client));
    assert_nobody_rose(&mut client);
}

#[test]
fn a_maintenance_function_that_sleeps_does_not_stop_the_ticks() {
    let (_cluster, mut client, mut attacker) =
        attacked(builder().set("pgq.maint_timeout", "500ms"));
    for (name, body, code) in [
        ("sleep", "begin perform pg_sleep(3600); return 0; end", "57014"),
        // A cancellation can be caught; the end of the process cannot.
        (
            "sleep_on",
            "begin
                 loop
                     begin
                         perform pg_sleep(3600);
                     exception when query_canceled or others then null;
                     end;
                 end loop;
             end",
            "57014",
        ),
        ("sleep_at_the_commit", "begin insert into a.slow values (3600); return 0; end", "57014"),
        // The limit is not one of the settings that a function can change.
        (
            "sleep_without_limit",
            "begin
                 perform set_config('statement_timeout', '0', false),
                         set_config('lock_timeout', '0', false);
                 perform pg_sleep(3600);
                 return 0;
             end",
            "57014",
        ),
    ] {
        attacker
            .batch_execute(
                "create table if not exists a.slow (seconds float8);
                 grant insert on a.slow to public;
                 create or replace function a.sleep_row() returns trigger language plpgsql as
                     $$ begin perform pg_sleep(new.seconds); return null; end $$;
                 drop trigger if exists slow on a.slow;
                 create constraint trigger slow after insert on a.slow deferrable initially deferred
                     for each row execute function a.sleep_row();",
            )
            .unwrap();
        hook(&mut attacker, name, body);
        let told = format!(
            "select count(*) from pgq.queue_health()
             where code = 'maintenance_failed' and finding like '%a.{name}(q)%'
                 and finding like '%({code})%'
               and remedy like '%pgq.maint_timeout%'"
        );
        assert!(wait_until(PATIENCE, || number(&mut client, &told) == 1), "{name} was not stopped");
        // It is not tried again at once, which would stop the ticks again.
        assert_ticks_go_on(&mut client);
        assert_ticks_go_on(&mut client);
    }
}

#[test]
fn what_keeps_to_the_limit_is_not_cancelled_by_what_did_not() {
    let (_cluster, mut client, mut attacker) = attacked(builder().set("pgq.maint_timeout", "3s"));
    define(&mut attacker, "slow", "begin perform pg_sleep(3600); return 0; end");
    define(&mut attacker, "quick", "begin return a.note('quick'); end");
    hook_in(&mut attacker, &["slow", "quick", "slow", "quick"]);
    let quick = "select count(*) from public.seen where what = 'quick'";
    assert!(wait_until(PATIENCE, || number(&mut client, quick) > 10));
    let failed = "select count(*) from pgq.queue_health()
        where code like '%_failed' and finding not like '%a.slow(q)%'";
    assert_eq!(number(&mut client, failed), 0);
}

#[test]
fn errors_of_other_databases_are_not_shown_to_everybody() {
    let cluster = builder().start();
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "create extension pgq;
             create role reader login in role pgq_reader;
             create role watcher login in role pgq_reader, pg_monitor;
             create role statistician login in role pgq_reader, pg_read_all_stats;
             create role changer login noinherit in role watcher;",
        )
        .unwrap();
    client.batch_execute("create database tenant").unwrap();
    let mut tenant = cluster.connect("tenant");
    tenant
        .batch_execute(
            "create extension pgq;
             select pgq.create_queue('secret_project');
             update pgq.queue set queue_extra_maint = '{secret.cleanup}'",
        )
        .unwrap();
    let told = "select count(*) from pgq.worker_status() where last_error like '%secret%' and last_error_at is not null";
    assert!(wait_until(PATIENCE, || number(&mut client, told) == 1), "nothing to be seen");
    for (who, before, may_see) in [
        ("reader", "", 0),
        ("watcher", "", 1),
        ("statistician", "", 1),
        ("postgres", "", 1),
        ("postgres", "set role reader", 0),
        ("changer", "set role watcher", 1),
    ] {
        let mut session = cluster.connect_as("postgres", who);
        session.batch_execute(before).unwrap();
        assert_eq!(number(&mut session, told), may_see, "{who} {before}");
        let known = "select count(*) from pgq.worker_status() where database_name = 'tenant' and state is not null";
        assert_eq!(number(&mut session, known), 1, "{who} {before}");
        let elsewhere =
            "select (select count(*) from pgq.queue_health() where finding like '%secret%')
                              + (select count(*) from pgq.metrics()
                                  where labels::text like '%secret%')";
        assert_eq!(number(&mut session, elsewhere), 0, "{who} {before}");
        let activity = "select count(*) from pg_stat_activity
            where backend_type like 'pgq%'
              and (query like '%secret%' or application_name like '%secret%')";
        if may_see == 0 {
            assert_eq!(number(&mut session, activity), 0, "{who} {before}");
        }
    }
    // Of its own database everybody sees them who sees the worker.
    let mut own = cluster.connect_as("tenant", "reader");
    assert_eq!(number(&mut own, told), 1);
}

#[test]
fn errors_carry_no_backtraces_whatever_the_environment_says() {
    let mut cluster = builder().create();
    cluster.set_env("RUST_BACKTRACE", "full");
    cluster.set_env("RUST_LIB_BACKTRACE", "1");
    cluster.start();
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "create extension pgq;
             select pgq.create_queue('q');
             create function deep(levels integer) returns void language plpgsql as $$
             begin
                 if levels = 0 then
                     perform pgq.insert_event('nothing', 't', 'd');
                 end if;
                 insert into nested values (levels - 1);
             end $$;
             create table nested (levels integer);
             create function nest() returns trigger language plpgsql as
                 $$ begin perform deep(new.levels); return new; end $$;
             create trigger nest before insert on nested for each row execute function nest();
             -- each level passes the library once more
             create trigger capture before insert on nested for each row
                 execute function pgq.logutriga('q', 'when=deep(new.levels) is null');",
        )
        .unwrap();
    for sql in [
        "select pgq.insert_event('nothing', 't', 'd')",
        "select * from pgq.get_batch_events(42)",
        "call pgq.wait_batch('q', 'nobody', '1 s')",
        "insert into nested values (5)",
    ] {
        let error = client.batch_execute(sql).unwrap_err();
        let server = error.as_db_error().unwrap();
        let detail = server.detail().unwrap_or_default();
        assert!(!detail.contains("rust") && detail.len() < 200, "{sql}: {detail}");
    }
    assert!(!cluster.log().contains("pgrx"), "{}", cluster.log());
}
