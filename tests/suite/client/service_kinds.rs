//! Kinds of services: what each does with its own keys, and where they log to.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use pgq_tests::{PATIENCE, Tree, wait_until};
use postgres::Client;

use crate::client::services::{Site, ends, run_once, signal};
use pgq_tests::programs::{database_on, dsn, insert_and_tick, pgq, stderr, tick, value};

#[test]
fn simple_consumer_runs_its_query_for_each_row() {
    let mut site = Site::new();
    site.here
        .batch_execute(
            "create table t (id int primary key, name text);
             create trigger capture after insert or update or delete on t
               for each row execute function pgq.logutriga('q');
             insert into t values (1, 'it''s \\'), (2, null); delete from t where id = 2",
        )
        .unwrap();
    site.here.batch_execute("select pgq.insert_event('q', 'no change', 'x')").unwrap();
    site.far.batch_execute("create table log (id int, name text, ev_type text)").unwrap();
    tick(&mut site.here, "q");
    let ini = site.ini_once(
        "simple_consumer3",
        "table_filter = t\ndst_query = insert into log values\n  (%%(id)s, %%(name)s, \
         %%(pgq.ev_type)s)",
    );
    run_once(&ini);
    assert_eq!(
        value(
            &mut site.far,
            "select string_agg(concat_ws('|', id, coalesce(name, 'NULL'), ev_type), ';' order by \
             ctid) from log"
        ),
        "1|it's \\|I:id;2|NULL|I:id;2|NULL|D:id"
    );
}

#[test]
fn pgq_consumer_calls_its_function() {
    let mut site = Site::new();
    site.here
        .batch_execute(
            "create table got (n int);
             create function take(jsonb) returns void language sql as
               $$ insert into got values (($1->>'ev_data')::int) $$",
        )
        .unwrap();
    insert_and_tick(&mut site.here, "q", 0, 10);
    let ini =
        site.ini_once("pgq_consumer", &format!("db = {}\nsql_function = take", dsn(&site.source)));
    let text = fs::read_to_string(&ini).unwrap();
    let without: String =
        text.lines().filter(|line| !line.contains("_db = ")).collect::<Vec<_>>().join("\n");
    fs::write(&ini, without).unwrap();
    run_once(&ini);
    assert_eq!(value(&mut site.here, "select sum(n) from got"), "45");
}

#[test]
fn skylog_sends_lines_to_syslog_and_log_servers() {
    let site = Site::new();
    let patience = Some(PATIENCE);
    let syslog = UnixDatagram::bind(site.path("syslog")).unwrap();
    syslog.set_read_timeout(patience).unwrap();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(patience).unwrap();
    fs::write(
        site.path("skylog.ini"),
        format!(
            "[loggers]\nkeys = root\n[handlers]\nkeys = sys, udp\n[logger_root]\nlevel = \
             INFO\nhandlers = sys, udp, file\n\
             [handler_sys]\nclass = skylog.SysLogHandler\nargs = ('{0}/syslog', \
             handlers.SysLogHandler.LOG_LOCAL3)\n\
             [handler_udp]\nclass = skylog.UdpLogServerHandler\nargs = ('127.0.0.1', {1})\n\
             [handler_file]\nclass = skylog.EasyRotatingFileHandler\nargs = \
             ('{0}/%(job_name)s.second',)\n",
            site.dir.path().display(),
            server.local_addr().unwrap().port()
        ),
    )
    .unwrap();
    let ini = site.ini_once(
        "queue_mover3",
        "dst_queue_name = copy\nuse_skylog = 2\nskylog_locations = %(base)s/none.ini, \
         %(base)s/skylog.ini",
    );
    run_once(&ini);
    let mut bytes = [0; 2000];
    let length = syslog.recv(&mut bytes).unwrap();
    let line = String::from_utf8_lossy(&bytes[..length]).into_owned();
    // local3 is 19, info 6.
    assert!(line.starts_with("<158>"), "{line}");
    assert!(line.contains(" job[") && line.contains("service queue_mover3 starts"), "{line}");
    let length = server.recv(&mut bytes).unwrap();
    let line: serde_json::Value = serde_json::from_slice(&bytes[..length]).unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["properties"]["application"], "queue_mover3");
    assert!(line["message"].as_str().unwrap().contains("starts"), "{line}");
    let second = fs::read_to_string(site.path("job.second")).unwrap();
    assert_eq!(second, site.log(), "both files have the same lines");

    fs::write(
        site.path("skylog.ini"),
        "[logger_root]\nhandlers = db\n[handler_db]\nclass = skylog.LogDBHandler\nargs = ('x',)\n",
    )
    .unwrap();
    let output = pgq(&["run", &ini]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("LogDBHandler cannot be had"), "{}", stderr(&output));
}

#[test]
fn queue_loader_maps_tables_and_keys() {
    let mut site = Site::new();
    site.here
        .batch_execute(
            "create table t (a int, b int, name text);
             create trigger capture after insert or update or delete on t
               for each row execute function pgq.logutriga('q', 'pkey=a');
             insert into t values (1, 1, 'one'), (1, 2, 'two'), (2, 1, 'three');
             update t set name = 'TWO' where b = 2",
        )
        .unwrap();
    site.far
        .batch_execute(
            "create schema archive; create table archive.t (a int, b int, name text, unique (a, \
             b))",
        )
        .unwrap();
    tick(&mut site.here, "q");
    // Pages of a single row, so that lazy fetching has something to do.
    run_once(&site.ini_once(
        "queue_loader",
        "rename_tables = t:archive.t\nkey_columns = t:a+b\npgq_lazy_fetch = 1",
    ));
    assert_eq!(
        value(
            &mut site.far,
            "select string_agg(concat_ws(' ', a, b, name), ', ' order by a, b) from archive.t"
        ),
        "1 1 one, 1 2 TWO, 2 1 three"
    );
}

#[test]
fn local_consumer_follows_its_file() {
    let mut site = Site::new();
    site.far.batch_execute("create table log (n int)").unwrap();
    let ini = site.ini_once(
        "simple_local_consumer3",
        "consumer_name = local\nlocal_tracking_file = %(base)s/tick\nsql_retry = 1\n\
         dst_query = insert into log values (%%(id)s)",
    );
    let row = |client: &mut Client, id: i32| {
        let data = format!("id={id}");
        client.execute("select pgq.insert_event('q', 'I:id', $1)", &[&data]).unwrap();
        tick(client, "q");
    };
    let file = || fs::read_to_string(site.dir.path().join("tick")).unwrap();
    let position = "select last_tick from pgq.get_consumer_info('q', 'local')";
    let done = |client: &mut Client| {
        value(client, "select coalesce(string_agg(n::text, ' ' order by n), '') from log")
    };

    // It registers itself, and writes where it begins.
    run_once(&ini);
    let begin = file();
    assert_eq!(begin, value(&mut site.here, position));
    for id in 1..=3 {
        row(&mut site.here, id);
    }
    run_once(&ini);
    assert_eq!(done(&mut site.far), "1 2 3");
    assert_eq!(file(), value(&mut site.here, position));

    // Killed before the file has it, the batch comes again; killed after, it does not.
    for (step, id, expected) in
        [("finish.committed", 4, "1 2 3 4 4"), ("position.stored", 5, "1 2 3 4 4 5")]
    {
        row(&mut site.here, id);
        let mut killed = pgq(&["run", &ini]);
        let killed = killed.env("PGQ_FAILPOINT", format!("{step}=kill")).output().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&killed.status),
            Some(9),
            "{step}"
        );
        run_once(&ini);
        assert_eq!(done(&mut site.far), expected, "{step}");
    }

    // The machine comes back from a backup with an older file: the queue follows, also when the
    // consumer is gone there.
    let order = |switch: &str| {
        let output = pgq(&["run", &ini, switch]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    };
    site.far.batch_execute("truncate log").unwrap();
    fs::write(site.path("tick"), &begin).unwrap();
    run_once(&ini);
    assert_eq!(done(&mut site.far), "1 2 3 4 5");
    assert!(site.log().contains("going there"), "{}", site.log());
    site.far.batch_execute("truncate log").unwrap();
    order("--unregister");
    fs::write(site.path("tick"), &begin).unwrap();
    run_once(&ini);
    assert_eq!(done(&mut site.far), "1 2 3 4 5");

    // --reset: the queue is right.
    fs::write(site.path("tick"), &begin).unwrap();
    order("--reset");
    assert_eq!(file(), value(&mut site.here, position));
    fs::write(site.path("tick"), &begin).unwrap();
    order("--rewind");
    assert_eq!(value(&mut site.here, position), begin);
}

#[test]
fn member_of_a_group_is_a_service() {
    let mut site = Site::new();
    site.here
        .batch_execute(
            "create extension pgq_coop; create table got (n int);
             create function take(jsonb) returns void language sql as
               $$ insert into got values (($1->>'ev_data')::int) $$",
        )
        .unwrap();
    let ini = site.ini_once(
        "pgq_consumer",
        &format!(
            "db = {}\nsql_function = take\nconsumer_name = crew\nsubconsumer_name = \
             one\nsubconsumer_timeout = 60",
            dsn(&site.source)
        ),
    );
    let text = fs::read_to_string(&ini).unwrap();
    let without: Vec<_> = text.lines().filter(|line| !line.contains("_db = ")).collect();
    fs::write(&ini, without.join("\n")).unwrap();
    assert!(pgq(&["run", &ini, "--register"]).status().unwrap().success());
    insert_and_tick(&mut site.here, "q", 0, 10);
    run_once(&ini);
    assert_eq!(value(&mut site.here, "select count(*) || ' ' || sum(n) from got"), "10 45");
    let members =
        "select string_agg(consumer_name, ' ' order by 1) from pgq.get_consumer_info('q')";
    assert_eq!(value(&mut site.here, members), "crew crew.one job");
}

#[test]
fn ticker_drives_a_server_without_worker() {
    // Upstream's server: nothing else ticks it.
    let scratch = database_on(Tree::Peer);
    let mut client = scratch.connect();
    client
        .batch_execute("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')")
        .unwrap();
    client
        .batch_execute(
            "update pgq.queue set queue_ticker_max_lag = '0.1 s', queue_rotation_period = '0.2 s';
             select pgq.insert_event('q', 't', 'retried')",
        )
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ini = dir.path().join("pgqd.ini");
    let base = dsn(&scratch).replace(&format!("dbname='{}'", scratch.name()), "");
    fs::write(
        &ini,
        format!(
            "[pgqd]\nlogfile = {0}/log\npidfile = {0}/pid\nsyslog = 0\n%include {0}/databases.ini\n\
             ticker_period = 0.05\nretry_period = 0.1\nmaint_period = 0.2\nstats_period = 1\n",
            dir.path().display(),
        ),
    )
    .unwrap();
    let databases = format!("base_connstr = {base}\ndatabase_list = {}\n", scratch.name());
    fs::write(dir.path().join("databases.ini"), databases).unwrap();
    let mut child =
        pgq(&["ticker"]).arg(&ini).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let ticks = "select last_tick_id > 3 from pgq.get_queue_info('q')";
    assert!(wait_until(PATIENCE, || value(&mut client, ticks) == "t"));
    // A retry comes back, and tables rotate once the consumer follows.
    let mut attempts = 0;
    let mut consumer = pgq_client::Consumer::builder("q", "c")
        .poll_interval(Duration::from_millis(20))
        .on_failure(pgq_client::OnFailure::Retry {
            backoff: pgq_client::Backoff::constant(Duration::ZERO),
            max_attempts: None,
        })
        .connect(&dsn(&scratch))
        .unwrap();
    let stop = consumer.stop_handle();
    let thread = std::thread::spawn(move || {
        consumer
            .run(|_, _| {
                attempts += 1;
                if attempts < 3 { Err("not yet".into()) } else { Ok(()) }
            })
            .map(|stats| (stats, attempts))
    });
    let rotated =
        "select queue_cur_table > 0 or queue_switch_step1 > queue_id + 10000000 from pgq.queue";
    assert!(wait_until(PATIENCE, || value(&mut client, rotated) == "t"));
    assert!(
        wait_until(PATIENCE, || value(&mut client, "select count(*) from pgq.retry_queue") == "0")
    );
    let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    assert!(wait_until(PATIENCE, || log().contains("{ticks: ")), "{}", log());
    signal(&child, "INT");
    assert_eq!(ends(&mut child), Some(0));
    assert!(!dir.path().join("pid").exists());
    stop.after_batch();
    let (stats, _) = thread.join().unwrap().unwrap();
    assert!(stats.events >= 1);
}
