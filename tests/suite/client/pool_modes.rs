//! What docs/poolers.md says of each of pgbouncer's modes.

use std::io::Write as _;
use std::process::Stdio;

use pgq_tests::Cluster;
use pgq_tests::programs::{pgq, stderr, value};

use crate::client::pooler::Pgbouncer;

const POOLERS: &str = include_str!("../../../docs/poolers.md");

/// The examples, each with its first line, which names modes.
fn examples() -> Vec<(&'static str, &'static str)> {
    let blocks = POOLERS.split("```sql\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().split_once('\n').unwrap()).collect()
}

/// Give a script to psql through the pooler: what it says on standard error.
fn psql(cluster: &Cluster, bouncer: &Pgbouncer, script: &str) -> String {
    let mut psql = cluster.command("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &bouncer.dsn()]);
    psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut psql = psql.spawn().unwrap();
    psql.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = psql.wait_with_output().unwrap();
    assert_eq!(output.status.success(), output.stderr.is_empty(), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn each_mode_of_pgbouncer_does_what_the_page_says() {
    let cluster = Cluster::builder().set("shared_preload_libraries", "pgq").start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq; create table mails (about text)").unwrap();
    assert_eq!(examples().len(), 3);
    for mode in ["session", "transaction", "statement"] {
        let bouncer = Pgbouncer::start_in(mode, &cluster, 3);
        client
            .batch_execute(
                "truncate mails; select pgq.create_queue('orders'), \
                 pgq.register_consumer('orders', 'mailer')",
            )
            .unwrap();
        for (modes, script) in examples() {
            let said = psql(&cluster, &bouncer, script);
            assert_eq!(said.is_empty(), modes.contains(mode), "{mode}: {modes}\n{said}");
        }
        // The batch that could not be handled in statement mode is the one that comes again.
        let mailed = if mode == "statement" { "order=18" } else { "order=18 order=19" };
        let mails = "select string_agg(about, ' ' order by about) from mails";
        assert_eq!(value(&mut client, mails), mailed, "{mode}");

        let sent = pgq(&["send", "orders", "x", "--dsn", &bouncer.dsn()]).output().unwrap();
        assert!(sent.status.success(), "{mode}: {}", stderr(&sent));
        let consume = ["consume", "orders", "mailer", "--once", "--dsn", &bouncer.dsn()];
        if mode != "statement" {
            let consumed = pgq(&consume).output().unwrap();
            assert!(consumed.status.success(), "{mode}: {}", stderr(&consumed));
            assert_eq!(String::from_utf8_lossy(&consumed.stdout).lines().count(), 1);
        }
        client.batch_execute("select pgq.drop_queue('orders', true)").unwrap();
    }
}
