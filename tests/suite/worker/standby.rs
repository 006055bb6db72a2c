//! A standby runs no worker; it gets one when it is promoted.

use pgq_tests::{Cluster, Tree};

use super::{consume, number, preloaded, quiet_queue, worker_pid};

#[test]
fn the_worker_follows_promotion() {
    let primary = preloaded().start();
    let mut client = primary.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    quiet_queue(&mut client, &["c"]);
    worker_pid(&mut client);
    client.execute("select pgq.insert_event('q', 'type', 'before')", &[]).unwrap();

    let mut standby = Cluster::empty(Tree::Ours);
    let output = standby
        .run_as(Tree::Ours.bin().join("pg_basebackup"))
        .args(["-h"])
        .arg(primary.dir())
        .args([
            "-p",
            &primary.port().to_string(),
            "-U",
            "postgres",
            "-R",
            "-c",
            "fast",
            "-X",
            "stream",
            "-D",
        ])
        .arg(standby.data_dir())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    standby.start();
    let mut reader = standby.connect("postgres");
    let processes = "select count(*) from pg_stat_activity where backend_type like 'pgq %'";
    assert_eq!(number(&mut reader, processes), 0);
    let told = "select count(*) from pgq.queue_health() where code = 'standby'";
    assert_eq!(number(&mut reader, told), 1);

    standby.promote();
    worker_pid(&mut reader);
    reader.execute("select pgq.insert_event('q', 'type', 'after')", &[]).unwrap();
    assert_eq!(consume(&mut reader, "c", 2), ["before", "after"]);
}
