//! The scenario of upstream's regression test, on ours and on upstream itself.

use pgq_tests::{Tree, scratch_database_on};
use postgres::Client;

use crate::companions::node::node;
use pgq_tests::query::{outcome, run};

/// The scenario of the upstream regression test (Appendix C of the specification), checkpoint by
/// checkpoint: call, answer.
const SCENARIO: &[(&str, &str)] = &[
    // 1. The map.
    (
        "pgq_node.register_location('aqueue', 'node1', 'dbname=node1', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.register_location('aqueue', 'node2', 'dbname=node2', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.register_location('aqueue', 'node3', 'dbname=node3', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.register_location('aqueue', 'node4', 'dbname=node44', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.register_location('aqueue', 'node4', 'dbname=node4', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.register_location('aqueue', 'node5', 'dbname=node4', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.get_queue_locations('aqueue')",
        "node1|dbname=node1|f\nnode2|dbname=node2|f\nnode3|dbname=node3|f\nnode4|dbname=node4|f\nnode5|dbname=node4|f",
    ),
    ("pgq_node.unregister_location('aqueue', 'node5')", "200|Ok"),
    ("pgq_node.unregister_location('aqueue', 'node5')", "301|Location not found: aqueue/node5"),
    // 2. A root and its subscribers.
    (
        "pgq_node.create_node('aqueue', 'root', 'node1', 'node1_worker', null, null, null)",
        "200|Node \"node1\" initialized for queue \"aqueue\" with type \"root\"",
    ),
    (
        "pgq_node.register_subscriber('aqueue', 'node2', 'node2_worker', null)",
        "200|Subscriber registered: node2|1",
    ),
    (
        "pgq_node.register_subscriber('aqueue', 'node3', 'node3_worker', null)",
        "200|Subscriber registered: node3|1",
    ),
    ("pgq_node.maint_watermark('aqueue')", "0"),
    ("pgq_node.maint_watermark('aqueue-x')", "0"),
    // 3. Who reads here.
    ("pgq_node.get_consumer_info('aqueue')", "node1_worker|node1|1|f|f|∅"),
    ("pgq_node.unregister_subscriber('aqueue', 'node3')", "200|Subscriber unregistered: node3"),
    ("pgq_node.unregister_subscriber('aqueue', 'node3')", "304|Subscriber not found"),
    (
        "(select queue_name, consumer_name, last_tick from pgq.get_consumer_info()) i",
        "aqueue|.global_watermark|1\naqueue|.node2.watermark|1\naqueue|node2_worker|1",
    ),
    // 4. The root as its worker sees it.
    (
        "pgq_node.get_worker_state('aqueue')",
        "100|Ok|root|node1|1|node1|dbname=node1|f|f|∅|node1_worker|1|1|1|∅|∅",
    ),
    // 5. Ticks and watermarks.
    ("pgq.set_queue_config('aqueue', 'ticker_max_lag', '0')", "1"),
    ("pgq.set_queue_config('aqueue', 'ticker_idle_period', '0')", "1"),
    ("pgq.ticker('aqueue')", "2"),
    ("pgq.ticker('aqueue')", "3"),
    ("pgq_node.set_subscriber_watermark('aqueue', 'node2', 3)", "200|.node2.watermark set to 3"),
    ("pgq_node.set_subscriber_watermark('aqueue', 'node2', 3)", "100|watermark already set"),
    (
        "pgq_node.set_subscriber_watermark('aqueue', 'node2', 2)",
        "405|watermark must not be moved backwards",
    ),
    (
        "pgq_node.set_subscriber_watermark('aqueue', 'nodeX', 2)",
        "404|node nodeX not subscribed to queue ",
    ),
    ("pgq_node.set_node_attrs('aqueue', 'test=1')", "200|Node attributes updated"),
    ("pgq_node.set_node_attrs('nope', 'test=1')", "404|Node not found"),
    (
        "pgq_node.get_node_info('aqueue')",
        "100|Ok|root|node1|1|1|node1|dbname=node1|∅|∅|node1_worker|f|f|3|test=1|∅",
    ),
    ("pgq_node.get_subscriber_info('aqueue')", "node2|node2_worker|3"),
    // 6. A branch with consumers.
    (
        "pgq_node.register_location('bqueue', 'node1', 'dbname=node1', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.register_location('bqueue', 'node2', 'dbname=node2', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.register_location('bqueue', 'node3', 'dbname=node3', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.create_node('bqueue', 'branch', 'node2', 'node2_worker', 'node1', 1, null)",
        "200|Node \"node2\" initialized for queue \"bqueue\" with type \"branch\"",
    ),
    (
        "pgq_node.register_consumer('bqueue', 'random_consumer', 'node1', 1)",
        "200|Consumer random_consumer registered on queue bqueue",
    ),
    (
        "pgq_node.register_consumer('bqueue', 'random_consumer2', 'node1', 1)",
        "200|Consumer random_consumer2 registered on queue bqueue",
    ),
    (
        "pgq_node.register_consumer('bqueue', 'random_consumer2', 'node1', 1)",
        "201|Consumer already registered: bqueue/random_consumer2",
    ),
    (
        "pgq_node.local_state order by queue_name, consumer_name",
        "aqueue|node1_worker|node1|1|∅|f|f\nbqueue|node2_worker|node1|1|∅|f|f\n\
         bqueue|random_consumer|node1|1|∅|f|f\nbqueue|random_consumer2|node1|1|∅|f|f",
    ),
    (
        "pgq_node.node_info order by queue_name",
        "aqueue|root|node1|node1_worker|∅|test=1\nbqueue|branch|node2|node2_worker|∅|∅",
    ),
    // 7. Unknown queues.
    ("pgq_node.get_node_info('cqueue')", "404|Unknown queue: cqueue|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅"),
    (
        "pgq_node.get_worker_state('cqueue')",
        "404|Unknown queue: cqueue|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅",
    ),
    ("pgq_node.is_root_node('aqueue')", "t"),
    ("pgq_node.is_root_node('bqueue')", "f"),
    ("pgq_node.is_leaf_node('bqueue')", "f"),
    ("pgq_node.is_root_node('cqueue')", "ERROR: queue does not exist: cqueue"),
    ("pgq_node.is_leaf_node('cqueue')", "ERROR: queue does not exist: cqueue"),
    // 8. What happens to a consumer.
    (
        "pgq_node.set_consumer_error('bqueue', 'random_consumer2', 'failure')",
        "100|Consumer random_consumer2 error = failure",
    ),
    (
        "pgq_node.get_consumer_state('bqueue', 'random_consumer2')",
        "100|Ok|branch|node2|1|node1|dbname=node1|f|f|failure",
    ),
    (
        "pgq_node.set_consumer_completed('bqueue', 'random_consumer2', 2)",
        "100|Consumer random_consumer2 completed tick = 2",
    ),
    (
        "pgq_node.set_consumer_paused('bqueue', 'random_consumer2', true)",
        "200|Consumer random_consumer2 tagged as paused",
    ),
    (
        "pgq_node.set_consumer_paused('bqueue', 'random_consumer2', true)",
        "201|Consumer random_consumer2 already paused",
    ),
    ("pgq_node.set_consumer_paused('bqueue', 'nobody', true)", "404|Unknown consumer: nobody"),
    (
        "pgq_node.set_consumer_uptodate('bqueue', 'random_consumer2', true)",
        "200|Consumer uptodate = 1",
    ),
    (
        "pgq_node.set_consumer_uptodate('bqueue', 'nobody', true)",
        "404|Consumer not known: bqueue/nobody",
    ),
    (
        "pgq_node.set_consumer_completed('bqueue', 'nobody', 1)",
        "404|Consumer not known: bqueue/nobody",
    ),
    (
        "pgq_node.set_consumer_error('bqueue', 'nobody', 'x')",
        "101|Consumer not known, ignoring: bqueue/nobody",
    ),
    (
        "pgq_node.change_consumer_provider('bqueue', 'random_consumer2', 'node3')",
        "200|Consumer provider node set to : node3",
    ),
    (
        "pgq_node.change_consumer_provider('bqueue', 'nobody', 'node3')",
        "404|Unknown consumer: bqueue/nobody",
    ),
    (
        "pgq_node.change_consumer_provider('bqueue', 'random_consumer2', 'node9')",
        "404|New node not found: node9",
    ),
    (
        "pgq_node.get_consumer_state('bqueue', 'random_consumer2')",
        "100|Ok|branch|node2|2|node3|dbname=node3|t|f|∅",
    ),
    (
        "pgq_node.unregister_consumer('bqueue', 'random_consumer2')",
        "200|Consumer random_consumer2 unregistered from bqueue",
    ),
    (
        "pgq_node.get_consumer_state('bqueue', 'random_consumer2')",
        "404|Unknown consumer: bqueue/random_consumer2|branch|node2|∅|∅|∅|∅|∅|∅",
    ),
    ("pgq_node.unregister_location('bqueue', 'node2')", "403|Cannot drop node's own location"),
    (
        "pgq_node.unregister_location('bqueue', 'node1')",
        "403|Cannot drop location of node's parent",
    ),
    ("pgq_node.set_global_watermark('bqueue', null)", "500|bad usage: wm=null on branch node"),
    ("pgq_node.set_global_watermark('bqueue', 77)", "200|Skipping global watermark update to 77"),
    ("pgq_node.set_global_watermark('bqueue', 1)", "200|Global watermark set to 1"),
    ("pgq_node.set_global_watermark('nope', 1)", "404|Queuenope not found"),
    ("pgq_node.drop_node('bqueue', 'node1')", "405|Cannot drop provider node: node1"),
    // 9. The root becomes a branch.
    ("set_config('session_replication_role', 'replica', false)", "replica"),
    ("pgq_node.demote_root('aqueue', 2, 'node3')", "ERROR: steps in wrong order"),
    ("pgq_node.demote_root('aqueue', 0, 'node3')", "ERROR: incorrect step number"),
    ("pgq_node.demote_root('aqueue', null, 'node3')", "ERROR: incorrect step number"),
    ("pgq_node.demote_root('nope', 1, 'node3')", "404|Node not initialized for queue: nope|∅"),
    ("pgq_node.demote_root('bqueue', 1, 'node3')", "301|Node not root|∅"),
    ("pgq_node.demote_root('aqueue', 1, 'node3')", "200|Step 1: Writing disabled for: aqueue|∅"),
    ("pgq_node.demote_root('aqueue', 1, 'node3')", "200|Step 1: Writing disabled for: aqueue|∅"),
    ("pgq_node.demote_root('aqueue', 4, 'node3')", "ERROR: incorrect step number"),
    ("pgq_node.demote_root('aqueue', 2, 'node3')", "200|Step 2: Inserted last tick: aqueue|4"),
    ("pgq_node.demote_root('aqueue', 2, 'node3')", "200|Step 2: Inserted last tick: aqueue|5"),
    ("pgq_node.promote_branch('aqueue')", "301|Node not branch"),
    ("pgq_node.demote_root('aqueue', 3, 'node3')", "200|Step 3: Demoted root to branch: aqueue|5"),
    ("pgq_node.demote_root('aqueue', 3, 'node3')", "301|Node not root|∅"),
    ("pgq_node.promote_branch('nope')", "404|Node not initialized for queue: nope"),
    // 10. A leaf that is merged into it.
    (
        "pgq_node.register_location('mqueue', 'node1', 'dbname=node1', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.register_location('mqueue', 'node2', 'dbname=node2', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.register_location('mqueue', 'node3', 'dbname=node3', false)",
        "200|Location registered",
    ),
    (
        "pgq_node.create_node('mqueue', 'leaf', 'node2', 'node2_worker', 'node3', 13, 'nope')",
        "401|non-existing queue on leaf side: nope",
    ),
    (
        "pgq_node.create_node('mqueue', 'leaf', 'node2', 'node2_worker', 'node3', 13, 'aqueue')",
        "200|Node \"node2\" initialized for queue \"mqueue\" with type \"leaf\"",
    ),
    (
        "pgq_node.get_worker_state('mqueue')",
        "100|Ok|leaf|node2|13|node3|dbname=node3|f|f|∅|node2_worker|∅|13|∅|aqueue|branch",
    ),
    (
        "pgq_node.get_node_info('aqueue')",
        "100|Ok|branch|node1|1|1|node3|dbname=node3|∅|∅|node1_worker|f|f|5|test=1|{mqueue}",
    ),
    (
        "pgq_node.register_subscriber('mqueue', 'node1', 'w', null)",
        "401|Cannot subscribe to leaf node|∅",
    ),
    ("pgq_node.register_subscriber('nope', 'node1', 'w', null)", "404|Unknown queue: nope|∅"),
    ("pgq_node.set_global_watermark('mqueue', 14)", "100|Ignoring global watermark in leaf"),
    ("pgq_node.set_partition_watermark('aqueue', 'mqueue', 14)", "200|Ok"),
    ("pgq_node.set_partition_watermark('aqueue', 'nope', 14)", "201|Part-queue does not exist"),
    (
        "pgq_node.create_node('mqueue', 'leaf', 'x', 'y', 'z', 1, null)",
        "401|Node already initialized",
    ),
    (
        "pgq_node.create_node('x', 'root', 'x', 'y', 'z', null, null)",
        "401|unexpected args for root",
    ),
    ("pgq_node.create_node('x', 'root', 'x', 'y', null, 1, null)", "401|unexpected args for root"),
    (
        "pgq_node.create_node('x', 'branch', 'x', 'y', null, 1, null)",
        "401|provider not set for branch",
    ),
    (
        "pgq_node.create_node('x', 'branch', 'x', 'y', 'z', null, null)",
        "401|global watermark not set for branch",
    ),
    // 11. The end.
    ("pgq_node.drop_node('asd', 'asd')", "200|Node dropped: asd"),
    ("pgq_node.drop_node('mqueue', 'node3')", "405|Cannot drop provider node: node3"),
    ("pgq_node.drop_node('mqueue', 'node2')", "200|Node dropped: node2"),
    ("pgq_node.drop_node('mqueue', 'node1')", "200|Node dropped: node1"),
    ("pgq_node.drop_node('aqueue', 'node5')", "200|Node dropped: node5"),
    ("pgq_node.drop_node('aqueue', 'node4')", "200|Node dropped: node4"),
    ("pgq_node.drop_node('aqueue', 'node1')", "200|Node dropped: node1"),
    ("pgq_node.drop_node('aqueue', 'node2')", "200|Node dropped: node2"),
    ("pgq_node.drop_node('aqueue', 'node3')", "200|Node dropped: node3"),
    ("pgq_node.drop_node('bqueue', 'node2')", "200|Node dropped: node2"),
    ("(select count(*) from pgq_node.node_location where queue_name <> 'bqueue') l", "0"),
    ("(select count(*) from pgq_node.local_state) l", "0"),
    ("(select count(*) from pgq.queue) q", "0"),
    ("pgq_node.upgrade_schema()", "0"),
];

/// Play the scenario and hold each answer against the script's. Errors are compared without their
/// code, which upstream lacks.
pub(crate) fn play(client: &mut Client) {
    for (call, answer) in SCENARIO {
        let mut got = outcome(client, &format!("select * from {call}"));
        if got.starts_with("ERROR ") {
            got.replace_range(5..11, "");
        }
        assert_eq!(&got, answer, "{call}");
    }
}

#[test]
fn upstreams_scenario_goes_as_the_specification_says() {
    let (_database, mut client) = node();
    play(&mut client);
}

#[test]
fn upstream_itself_goes_through_the_scenario_in_the_same_way() {
    let database = scratch_database_on(Tree::Peer);
    let mut client = database.connect();
    run(&mut client, "create extension pgq; create extension pgq_node");
    play(&mut client);
}
