//! Events that the root publishes, and calls that upstream takes amiss.

use crate::companions::node::{locations, node, root};
use pgq_tests::query::{outcome, row, rows, run};

#[test]
fn changes_of_the_map_and_watermarks_are_published_by_the_root() {
    let (_database, mut client) = root();
    run(&mut client, "select pgq_node.register_location('q', 'node3', null, true)");
    run(&mut client, "select pgq_node.register_location('q', 'node2', null, true)");
    run(&mut client, "select pgq_node.unregister_location('q', 'node3')");
    run(&mut client, "select pgq_node.set_global_watermark('q', null)");
    assert_eq!(
        rows(
            &mut client,
            "select ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3 from pgq.event_template order by ev_id"
        ),
        [
            "pgq.location-info|node3|q|∅|true",
            "pgq.location-info|node2|q|∅|true",
            "pgq.unregister-location|node3|q|∅|∅",
            "pgq.global-watermark|1|q|∅|∅",
        ]
    );
    // Without a connect string nothing was added, and what was there stays.
    assert_eq!(
        rows(&mut client, "select * from pgq_node.node_location"),
        ["q|node1|dbname=node1|f", "q|node2|dbname=node2|t"]
    );
}

#[test]
fn maintenance_publishes_an_old_watermark_but_not_from_a_root_on_its_way_out() {
    let (_database, mut client) = root();
    let published = "select count(*) from pgq.event_template";
    run(&mut client, "select pgq_node.maint_watermark('q')");
    assert_eq!(row(&mut client, published), "0");
    run(&mut client, "update pgq.tick set tick_time = now() - interval '6 minutes'");
    run(&mut client, "select pgq_node.maint_watermark('q')");
    assert_eq!(row(&mut client, published), "1");
    run(&mut client, "select pgq_node.demote_root('q', 1, null)");
    assert_eq!(row(&mut client, "select pgq_node.maint_watermark('q')"), "0");
    assert_eq!(row(&mut client, published), "1");
    assert!(
        outcome(&mut client, "select pgq_node.set_global_watermark('q', null)")
            .starts_with("ERROR 55000")
    );
}

#[test]
fn registering_a_subscriber_again_moves_nothing() {
    let (_database, mut client) = root();
    run(&mut client, "select pgq.ticker('q')");
    run(&mut client, "select pgq_node.set_subscriber_watermark('q', 'node2', 2)");
    let again = "select * from pgq_node.register_subscriber('q', 'node2', 'node2_worker', 1)";
    assert_eq!(row(&mut client, again), "201|Subscriber already registered: node2|1");
    assert_eq!(
        row(&mut client, "select node_watermark from pgq_node.get_subscriber_info('q')"),
        "2"
    );
    let other = "select * from pgq_node.register_subscriber('q', 'node2', 'other_worker', 1)";
    assert!(outcome(&mut client, other).starts_with("ERROR 23505"));
}

#[test]
fn bad_arguments_are_refused_before_anything_is_made() {
    let (_database, mut client) = node();
    locations(&mut client, "q", &["node1"]);
    assert_eq!(
        row(
            &mut client,
            "select * from pgq_node.create_node('q', 'trunk', 'node1', 'w', null, null, null)"
        ),
        "401|bad node type: trunk"
    );
    assert!(
        outcome(
            &mut client,
            "select pgq_node.create_node('q', 'root', 'stranger', 'w', null, null, null)"
        )
        .starts_with("ERROR 23503")
    );
    assert_eq!(row(&mut client, "select count(*) from pgq.queue"), "0");
    assert!(
        outcome(&mut client, "select pgq_node.set_subscriber_watermark('q', 'a', null)")
            .starts_with("ERROR 22004")
    );
}
