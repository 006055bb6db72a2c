//! Who may call what.

use crate::companions::{COMPANIONS, full};
use pgq_tests::query::{outcome, run};

#[test]
fn roles_can_do_their_work_and_no_more() {
    let (database, mut client) = full();
    let suffix = database.name().to_owned();
    for (user, role) in [
        ("reads", "pgq_reader"),
        ("writes", "pgq_writer"),
        ("rules", "pgq_admin"),
        ("stranger", ""),
    ] {
        run(&mut client, &format!("create role {user}_{suffix} login"));
        if !role.is_empty() {
            run(&mut client, &format!("grant {role} to {user}_{suffix}"));
        }
    }
    let answer = |user: &str, call: &str| {
        let mut session = database.connect_as(&format!("{user}_{suffix}"));
        let answer = outcome(&mut session, &format!("select * from {call}"));
        if answer.starts_with("ERROR 42501: permission denied") { "no".to_owned() } else { answer }
    };
    let rules: &[(&str, &str)] = &[
        ("pgq.create_queue('q')", "1"),
        ("pgq_node.register_location('s', 'n', 'dbname=n', false)", "200|Location registered"),
        (
            "pgq_node.create_node('s', 'root', 'n', 'w', null, null, null)",
            "200|Node \"n\" initialized for queue \"s\" with type \"root\"",
        ),
        ("pgq_node.set_global_watermark('s', null)", "200|Global watermark set to 1"),
        ("pgq_node.demote_root('s', 1, null)", "200|Step 1: Writing disabled for: s|∅"),
        ("pgq_node.demote_root('s', 2, null)", "200|Step 2: Inserted last tick: s|2"),
        ("pgq_node.cancel_demote('s')", "200|Demotion cancelled: s"),
        ("pgq_node.maint_watermark('s')", "0"),
        ("pgq_coop.register_subconsumer('q', 'm', 's')", "1"),
        ("pgq_ext.set_batch_done('c', 1)", "t"),
    ];
    for (call, expected) in rules {
        assert_eq!(answer("rules", call), *expected, "{call}");
        if !call.starts_with("pgq_coop") {
            assert_eq!(answer("reads", call), "no", "{call}");
        }
        if !call.starts_with("pgq_ext") {
            assert_eq!(answer("writes", call), "no", "{call}");
        }
        assert_eq!(answer("stranger", call), "no", "{call}");
    }
    assert_eq!(answer("reads", "pgq_coop.next_batch('q', 'm', 's')"), "∅");
    assert_eq!(answer("reads", "pgq_node.register_location('s', 'x', '', false)"), "no");
    assert_eq!(answer("reads", "pgq_node.get_subscriber_info('s')"), "");
    assert_eq!(answer("reads", "pgq_node.set_consumer_paused('s', 'w', true)"), "no");
    assert_eq!(
        answer("writes", "pgq_node.set_consumer_paused('s', 'w', true)"),
        "200|Consumer w tagged as paused"
    );
    assert_eq!(answer("reads", "(select problem from pgq_node.node_health()) h"), "paused");
    assert_eq!(answer("writes", "pgq_ext.is_batch_done('c', 1)"), "t");
    assert_eq!(answer("writes", "pgq_ext.completed_batch"), "no");
    assert_eq!(answer("stranger", "pgq_node.node_location"), "no");
    assert_eq!(answer("stranger", "pgq_node.is_leaf_node('s')"), "no");
    assert_eq!(answer("reads", "pgq_node.is_leaf_node('s')"), "f");
    for extension in COMPANIONS {
        assert_eq!(answer("stranger", &format!("{extension}.version()")), "4.0");
    }
    run(&mut client, "drop extension pgq_coop, pgq_ext, pgq_node");
    run(&mut client, "select pgq.drop_queue('q', true); select pgq.drop_queue('s', true)");
    for user in ["reads", "writes", "rules", "stranger"] {
        run(&mut client, &format!("drop role {user}_{suffix}"));
    }
}
