//! The harness itself: a server that is killed comes back with what was committed.

use pgq_tests::{Cluster, Stop};

#[test]
fn killed_server_keeps_what_was_committed() {
    let mut cluster = Cluster::builder().start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create table kept (n int); insert into kept values (1)").unwrap();
    cluster.stop(Stop::Kill);
    cluster.start();
    assert_eq!(cluster.psql("postgres", "select n from kept"), "1");
    cluster.restart();
    assert_eq!(cluster.psql("postgres", "select n from kept"), "1");
}
