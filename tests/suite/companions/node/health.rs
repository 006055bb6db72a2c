//! What `node_health()` says.

use crate::companions::node::{branch, locations, problems, root};
use pgq_tests::query::{row, rows, run};

#[test]
fn health_says_what_is_wrong_and_who() {
    let (_database, mut client) = root();
    assert_eq!(problems(&mut client), ["q: ok"]);
    run(&mut client, "select pgq_node.demote_root('q', 1, null)");
    assert_eq!(problems(&mut client), ["q: half demoted"]);
    run(&mut client, "select pgq_node.cancel_demote('q')");

    // Nobody ticks, publishes or reads for an hour. It is now until the end of the transaction.
    run(&mut client, "begin");
    run(&mut client, "update pgq.tick set tick_time = now() - interval '1 hour'");
    run(&mut client, "update pgq.subscription set sub_active = now() - interval '1 hour'");
    assert_eq!(
        problems(&mut client),
        ["q: lag", "q: subscriber silent", "q: watermark not published", "q: watermark stuck"]
    );
    let holder = "select detail from pgq_node.node_health('q') where problem = 'watermark stuck'";
    assert_eq!(
        row(&mut client, holder),
        "every node keeps events since tick 1, which is 01:00:00 old; here \".node2.watermark\" needs them from tick 1 on"
    );
    run(&mut client, "commit");
    assert_eq!(
        rows(&mut client, "select severity from pgq_node.node_health('q', '2 hours')"),
        ["ok"]
    );
    assert_eq!(
        rows(&mut client, "select * from pgq_node.node_health('other')"),
        Vec::<String>::new()
    );

    let (_database, mut client) = branch();
    assert_eq!(problems(&mut client), ["q: no worker seen", "q: unsynchronised"]);
    run(&mut client, "select pgq_node.set_consumer_uptodate('q', 'node2_worker', true)");
    assert_eq!(problems(&mut client), ["q: ok"]);
    run(&mut client, "begin");
    run(&mut client, "update pgq_node.consumer_seen set seen = now() - interval '10 minutes'");
    assert_eq!(
        row(&mut client, "select severity, problem, detail from pgq_node.node_health()"),
        "error|no worker seen|consumer \"node2_worker\" reported last 00:10:00 ago"
    );
    run(&mut client, "commit");
    run(&mut client, "select pgq_node.set_consumer_error('q', 'node2_worker', 'disk full')");
    assert_eq!(problems(&mut client), ["q: error"]);
    run(&mut client, "select pgq_node.set_consumer_completed('q', 'node2_worker', 1)");
    run(&mut client, "select pgq_node.set_consumer_paused('q', 'node2_worker', true)");
    assert_eq!(problems(&mut client), ["q: paused", "q: unsynchronised"]);
    run(&mut client, "select pgq_node.set_consumer_paused('q', 'node2_worker', false)");
    run(&mut client, "select pgq_node.set_consumer_uptodate('q', 'node2_worker', true)");
    run(&mut client, "select pgq_node.register_location('q', 'node1', null, true)");
    assert_eq!(problems(&mut client), ["q: provider is dead"]);
    run(&mut client, "update pgq.queue set queue_disable_insert = false");
    assert_eq!(problems(&mut client), ["q: branch is writable", "q: provider is dead"]);
    run(&mut client, "select pgq.drop_queue('q', true)");
    assert_eq!(problems(&mut client), ["q: provider is dead", "q: queue missing"]);

    locations(&mut client, "part", &["node1", "node2"]);
    run(
        &mut client,
        "select pgq.create_queue('whole');
         select pgq_node.create_node('part', 'leaf', 'node2', 'part_worker', 'node1', 1, 'whole');
         select pgq_node.set_consumer_uptodate('part', 'part_worker', true)",
    );
    assert_eq!(
        rows(&mut client, "select problem from pgq_node.node_health('part')"),
        ["combined queue missing"]
    );
}
