//! Nodes that come and go while watermarks move and queues are maintained.

use crate::companions::node::{branch, root};
use pgq_tests::query::{row, run};
use pgq_tests::race::race;

#[test]
fn subscribers_watermarks_and_maintenance_of_a_root_do_not_disturb_each_other() {
    let (database, mut client) = root();
    run(&mut client, "update pgq.queue set queue_rotation_period = '0'");
    let errors = race(
        &database,
        200,
        // Where a session removes the subscriber, its worker may find itself unknown.
        &["42704"],
        &[
            &[
                "select pgq_node.register_subscriber('q', 'node2', 'node2_worker', null)",
                "select pgq_node.unregister_subscriber('q', 'node2')",
            ],
            &[
                "select pgq_node.register_subscriber('q', 'node2', 'node2_worker', null)",
                "select pgq_node.set_subscriber_watermark('q', 'node2', tick_id) from pgq.tick \
                 order by tick_id desc limit 1",
                "select pgq.finish_batch(b)
                   from pgq.subscription s, pgq.consumer c, pgq.next_batch('q', c.co_name) b
                  where c.co_id = s.sub_consumer and c.co_name = 'node2_worker' and b is not null",
            ],
            &[
                "select pgq_node.set_global_watermark('q', null)",
                "select pgq_node.maint_watermark('q')",
                "select pgq_node.register_location('q', 'node2', 'dbname=node2', false)",
            ],
            &[
                "select pgq.ticker('q')",
                "select pgq.maint_rotate_tables_step1('q')",
                "select pgq.maint_rotate_tables_step2()",
                "select pgq_node.node_health()",
            ],
        ],
    );
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn root_that_is_demoted_and_taken_back_does_not_stop_its_writers_for_good() {
    let (database, mut client) = root();
    let errors = race(
        &database,
        120,
        // Writers are refused while the root is on its way out; step 2 may come after somebody
        // else's cancellation.
        &["55000"],
        &[
            &[
                "select pgq_node.demote_root('q', 1, null)",
                "select pgq_node.demote_root('q', 2, null)",
                "select pgq_node.cancel_demote('q')",
            ],
            &["select pgq_node.demote_root('q', 1, null)", "select pgq_node.cancel_demote('q')"],
            &["select pgq.insert_event('q', 'a', 'b') from generate_series(1, 10)"],
            &["select pgq_node.set_global_watermark('q', null)"],
            &["select pgq.ticker()"],
        ],
    );
    assert_eq!(errors, Vec::<String>::new());
    run(&mut client, "select pgq_node.cancel_demote('q')");
    run(&mut client, "select pgq.insert_event('q', 'a', 'b')");
}

#[test]
fn branch_is_promoted_once_among_its_worker_and_its_watermarks() {
    let (database, mut client) = branch();
    let errors = race(
        &database,
        60,
        &["55000"],
        &[
            &["select pgq_node.promote_branch('q')"],
            &["select pgq_node.promote_branch('q')"],
            &[
                "begin;
                 set local session_replication_role = replica;
                 insert into pgq.event_1_0 (ev_id, ev_time, ev_type, ev_data) values (1, now(), \
                 'a', 'b');
                 select pgq_node.set_global_watermark('q', 1);
                 select pgq_node.set_consumer_completed('q', 'node2_worker', 1);
                 commit",
                "rollback",
            ],
            &[
                "select pgq_node.set_consumer_paused('q', 'node2_worker', true)",
                "select pgq_node.set_consumer_paused('q', 'node2_worker', false)",
            ],
        ],
    );
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(row(&mut client, "select node_type from pgq_node.get_node_info('q')"), "root");
}
