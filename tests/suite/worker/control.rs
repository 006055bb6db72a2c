//! Commands to the worker, and who may give them.

use pgq_tests::{
    PATIENCE, scratch_database, scratch_database_with_worker, sqlstate_of, wait_until,
};

use super::{consume, number, quiet_queue, wait_batch, worker_pid};

const RUNNING: &str = "select count(*) from pg_stat_activity
    where backend_type = 'pgq worker' and datname = current_database()";

#[test]
fn a_stopped_worker_stays_stopped_until_it_is_started() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    quiet_queue(&mut client, &["c"]);
    worker_pid(&mut client);
    assert_eq!(number(&mut client, "select pgq.start_worker()"), 0);
    assert_eq!(number(&mut client, "select pgq.stop_worker()"), 1);
    assert!(wait_until(PATIENCE, || number(&mut client, RUNNING) == 0));
    let stopped = "select count(*) from pgq.worker_status()
        where database_name = current_database() and state = 'stopped' and pid is null";
    assert!(wait_until(PATIENCE, || number(&mut client, stopped) == 1));
    assert_eq!(number(&mut client, "select pgq.stop_worker()"), 0);

    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    assert_eq!(wait_batch(&mut client, "c", "500 ms"), None);
    assert_eq!(number(&mut client, "select pgq.start_worker()"), 1);
    worker_pid(&mut client);
    assert_eq!(consume(&mut client, "c", 1), ["data"]);
}

#[test]
fn a_paused_queue_gets_no_ticks_and_resumes_at_once() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    quiet_queue(&mut client, &["c"]);
    worker_pid(&mut client);
    assert_eq!(number(&mut client, "select pgq.pause_queue('q')"), 1);
    assert_eq!(number(&mut client, "select pgq.pause_queue('q')"), 0);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    assert_eq!(wait_batch(&mut client, "c", "300 ms"), None);

    let mut consumer = database.connect();
    let reader = std::thread::spawn(move || consume(&mut consumer, "c", 1));
    let waiting = "select count(*) from pgq._worker_waiters()";
    assert!(wait_until(PATIENCE, || number(&mut client, waiting) == 1));
    assert_eq!(number(&mut client, "select pgq.resume_queue('q')"), 1);
    assert_eq!(number(&mut client, "select pgq.resume_queue('q')"), 0);
    assert_eq!(reader.join().unwrap(), ["data"]);
    assert_eq!(sqlstate_of(client.execute("select pgq.pause_queue('none')", &[])), "42704");
}

#[test]
fn without_preload_a_worker_can_be_started_by_hand() {
    let database = scratch_database();
    let mut client = database.connect();
    client
        .batch_execute("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')")
        .unwrap();
    let told = "select count(*) from pgq.queue_health() where code = 'worker_not_running'";
    assert_eq!(number(&mut client, told), 1);
    assert_eq!(number(&mut client, "select pgq.stop_worker()"), 0);
    assert_eq!(number(&mut client, "select pgq.start_worker()"), 1);
    worker_pid(&mut client);
    assert_eq!(number(&mut client, "select pgq.start_worker()"), 0);
    assert_eq!(number(&mut client, told), 0);
    // It ticks by the classic rules.
    client.execute("select pgq.set_queue_config('q', 'ticker_max_lag', '0')", &[]).unwrap();
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    assert_eq!(consume(&mut client, "c", 1), ["data"]);
    // It steps out of the way of DROP DATABASE like any worker; here it is sent away first.
    assert_eq!(number(&mut client, "select pgq.stop_worker()"), 1);
    assert!(wait_until(PATIENCE, || number(&mut client, RUNNING) == 0));
}

#[test]
fn commands_need_pgq_admin_and_reports_pgq_reader() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    client
        .batch_execute(&format!(
            "create role \"{0}_nobody\" login; create role \"{0}_reader\" login in role pgq_reader;
             create role \"{0}_admin\" login in role pgq_admin",
            database.name()
        ))
        .unwrap();
    quiet_queue(&mut client, &["c"]);
    worker_pid(&mut client);
    let commands = [
        "select pgq.stop_worker()",
        "select pgq.start_worker()",
        "select pgq.pause_queue('q')",
        "select pgq.resume_queue('q')",
    ];
    let reports = [
        "select count(*) from pgq.worker_status()",
        "select count(*) from pgq.queue_health()",
        "select count(*) from pgq.metrics()",
        "call pgq.wait_batch('q', 'c', '0')",
    ];
    let internals = [
        "select pgq._worker_control(false)",
        "select count(*) from pgq._worker_server()",
        "select count(*) from pgq._worker_databases()",
        "select count(*) from pgq._worker_waiters()",
        "select count(*) from pgq._worker_problems()",
        "select pgq._announce()",
        "select pgq._mark_dirty(1)",
        "select pgq._wake_waiters(1)",
    ];
    for (role, may_report, may_command) in
        [("nobody", false, false), ("reader", true, false), ("admin", true, true)]
    {
        let mut session = database.connect_as(&format!("{}_{role}", database.name()));
        let mut check = |statements: &[&str], allowed: bool| {
            for sql in statements {
                let result = session.batch_execute(sql);
                if allowed {
                    result.unwrap_or_else(|error| panic!("{role}: {sql}: {error:?}"));
                } else {
                    assert_eq!(sqlstate_of(result), "42501", "{role}: {sql}");
                }
            }
        };
        check(&reports, may_report);
        check(&commands, may_command);
        check(&internals, false);
    }
    client
        .batch_execute(&format!(
            "drop role \"{0}_nobody\"; drop role \"{0}_reader\"; drop role \"{0}_admin\"",
            database.name()
        ))
        .unwrap();
}

#[test]
fn unknown_settings_of_the_prefix_are_refused() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    assert_eq!(sqlstate_of(client.batch_execute("set pgq.no_such_thing = 1")), "42602");
    let described = "select count(*) from pg_settings
        where name like 'pgq.%' and short_desc <> '' and extra_desc <> '' and min_val is not null
            and max_val is not null";
    assert_eq!(
        number(&mut client, described),
        number(&mut client, "select count(*) from pg_settings where name like 'pgq.%'")
    );
    assert_eq!(sqlstate_of(client.batch_execute("set pgq.health_consumer_lag = -5")), "22023");
}

#[test]
fn functions_hooked_into_the_maintenance_do_not_run_as_superuser() {
    let cluster = super::preloaded().set("pgq.maint_period", "50ms").start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq; select pgq.create_queue('q')").unwrap();
    client
        .batch_execute(
            "create table seen (who text, path text);
             grant insert on seen to pgq_admin;
             create function public.look(queue text) returns integer language sql as
                 $$ insert into public.seen values (current_user, current_setting('search_path'));
                 select 0 $$;
             create function public.again(queue text) returns integer language plpgsql as
                 $$ begin set role postgres; return 0; end $$;
             update pgq.queue set queue_extra_maint = '{public.again,public.look}'",
        )
        .unwrap();
    assert!(wait_until(PATIENCE, || number(&mut client, "select count(*) from seen") > 0));
    assert_eq!(
        cluster.psql("postgres", "select distinct who || ' ' || path from seen"),
        "pgq_admin pg_catalog, pg_temp"
    );
    // The attempt to change the role failed, was noted, and did not stop what came after it.
    let noted = "select count(*) from pgq.queue_health()
        where code = 'maintenance_failed' and finding like '%public.again%'";
    assert!(wait_until(PATIENCE, || number(&mut client, noted) == 1));
}
