//! python-pgq on the same queue: events and positions are common property.

use std::process::{Command, Output};

use pgq_client::{Consumer, NewEvent, Producer};
use pgq_tests::{Scratch, Tree, scratch_database_on};

use pgq_tests::programs::{
    connector, create_queue, database_on, dsn, programs_of_others, stderr, succeed, tick, value,
};

/// Run a Python program with python-pgq, its arguments the connection strings.
fn python(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new("/usr/bin/python3")
        .env("PYTHONPATH", programs_of_others().join("usr/lib/python3/dist-packages"))
        .args(["-c", program])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

/// An INI file for a Python consumer, and the directory it lives in.
fn ini(section: &str, text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("job.ini");
    let text =
        format!("[{section}]\njob_name = snake\npidfile =\nlogfile =\nloop_delay = 0\n{text}\n");
    std::fs::write(&path, text).unwrap();
    (dir, path.display().to_string())
}

const CONSUMER: &str = r#"
import sys, pgq
class C(pgq.Consumer):
    def process_event(self, db, ev):
        db.cursor().execute("insert into seen values (%s, %s, %s, %s)",
                            [ev.ev_id, ev.ev_type, ev.ev_data, ev.ev_extra4])
        ev.tag_done()
C('snake_service', 'db', sys.argv[1:]).start()
"#;

fn prepare() -> (Scratch, postgres::Client) {
    let scratch = database_on(Tree::Ours);
    let mut client = connector(&scratch).connect().unwrap();
    create_queue(&mut client, "q", "snake");
    client.batch_execute("create table seen (id bigint, t text, d text, e4 text)").unwrap();
    (scratch, client)
}

#[test]
fn python_consumes_what_we_produce_and_we_go_on_from_its_position() {
    let (scratch, mut client) = prepare();
    let odd = NewEvent { ev_extra4: Some("4".to_owned()), ..NewEvent::new("t'ü", "a\\b\n") };
    Producer::new("q").insert_events(&mut client, &vec![odd; 700]).unwrap();
    tick(&mut client, "q");
    let (_dir, path) = ini("snake_service", &format!("db = {}\nqueue_name = q", dsn(&scratch)));
    python(CONSUMER, &[&path]);
    assert_eq!(
        value(&mut client, "select count(*) || t || d || e4 from seen group by t, d, e4"),
        "700t'üa\\b\n4"
    );
    Producer::new("q").insert_event(&mut client, &NewEvent::new("t", "ours")).unwrap();
    tick(&mut client, "q");
    let mut consumer =
        Consumer::builder("q", "snake").stop_when_empty(true).connect(&dsn(&scratch)).unwrap();
    assert_eq!(consumer.run(|_, _| Ok(())).unwrap().events, 1);
}

#[test]
fn we_consume_what_python_produces() {
    let (scratch, mut client) = prepare();
    python(
        r#"
import sys, pgq, psycopg2
db = psycopg2.connect(sys.argv[1])
cur = db.cursor()
pgq.insert_event(cur, 'q', 'single', 'ä', None, 'x2')
rows = [('2026-01-02 03:04:05+00', 'bulk', str(n), 'x1') for n in range(1000)]
pgq.bulk_insert_events(cur, rows, ['time', 'type', 'data', 'extra1'], 'q')
db.commit()
"#,
        &[&dsn(&scratch)],
    );
    tick(&mut client, "q");
    let events = succeed(&scratch, &["consume", "q", "snake", "--once"]);
    assert_eq!(events.lines().count(), 1001);
    assert!(events.lines().next().unwrap().contains("\"ev_extra2\":\"x2\""));
    assert!(events.lines().last().unwrap().contains("\"ev_data\":\"999\""));
}

#[test]
fn retry_of_python_comes_to_us_and_ours_to_python() {
    let (scratch, mut client) = prepare();
    Producer::new("q").insert_event(&mut client, &NewEvent::new("t", "again")).unwrap();
    tick(&mut client, "q");
    let (_dir, path) = ini("snake_service", &format!("db = {}\nqueue_name = q", dsn(&scratch)));
    python(
        r#"
import sys, pgq
class C(pgq.Consumer):
    def process_event(self, db, ev):
        ev.tag_retry(0)
C('snake_service', 'db', sys.argv[1:]).start()
"#,
        &[&path],
    );
    let redeliver = |client: &mut postgres::Client| {
        while value(client, "select pgq.maint_retry_events()") != "0" {}
        tick(client, "q");
    };
    redeliver(&mut client);
    let mut attempts = Vec::new();
    let mut consumer =
        Consumer::builder("q", "snake").stop_when_empty(true).connect(&dsn(&scratch)).unwrap();
    consumer
        .run(|_, event| {
            attempts.push(event.attempt());
            Ok(pgq_client::Outcome::Retry(std::time::Duration::ZERO))
        })
        .unwrap();
    assert_eq!(attempts, [2]);
    redeliver(&mut client);
    python(CONSUMER, &[&path]);
    assert_eq!(value(&mut client, "select d from seen"), "again");
}

#[test]
fn position_in_the_target_is_shared_with_pythons_serial_consumer() {
    let (scratch, mut client) = prepare();
    let there = scratch_database_on(Tree::Ours);
    let mut far = there.connect();
    far.batch_execute("create extension pgq_ext cascade; create table seen (d text)").unwrap();
    let program = r#"
import sys, pgq
class C(pgq.SerialConsumer):
    def process_remote_batch(self, db, tick_id, events, dst_db):
        for ev in events:
            dst_db.cursor().execute("insert into seen values (%s)", [ev.ev_data])
            ev.tag_done()
C('snake_service', 'src_db', 'dst_db', sys.argv[1:]).start()
"#;
    let text = format!("src_db = {}\ndst_db = {}\nqueue_name = q", dsn(&scratch), dsn(&there));
    let (_dir, path) = ini("snake_service", &text);
    let put = |client: &mut postgres::Client, data: &str| {
        Producer::new("q").insert_event(client, &NewEvent::new("t", data)).unwrap();
        tick(client, "q");
    };
    put(&mut client, "by python");
    python(program, &[&path]);
    put(&mut client, "by us");
    let mut consumer = pgq_client::RemoteConsumer::builder("q", "snake")
        .stop_when_empty(true)
        .connect(connector(&scratch), connector(&there))
        .unwrap();
    consumer
        .run_batches(|batch| {
            while let Some(page) = batch.next_page()? {
                for event in page {
                    batch.target().execute("insert into seen values ($1)", &[&event.data])?;
                }
            }
            Ok(())
        })
        .unwrap();
    put(&mut client, "by python again");
    python(program, &[&path]);
    assert_eq!(
        value(&mut far, "select string_agg(d, ', ' order by ctid) from seen"),
        "by python, by us, by python again"
    );
}
