//! Delivery: every committed event reaches every consumer exactly once, whatever goes on at the
//! same time.

mod load;
mod rotation;

use pgq_tests::{Cluster, PATIENCE, Random, Stop, wait_until};

use load::Load;

/// Producers in two isolation levels with savepoints and rollbacks, three tickers, constant
/// rotation, two consumers.
#[test]
fn every_committed_event_is_delivered_once_under_rotation_and_concurrent_tickers() {
    let mut random = Random::for_test("delivery");
    let cluster = Cluster::builder().set("synchronous_commit", "off").start();
    let load = Load::start(&cluster, &mut random);
    let rotated = wait_until(PATIENCE, || load.rotations() >= 40 && load.committed() >= 2000);
    assert!(rotated, "{} rotations, {} events", load.rotations(), load.committed());
    load.finish().assert_exactly_once();
}

/// The same load while the whole server is killed again and again.
#[test]
fn nothing_is_lost_when_the_server_is_killed() {
    let mut random = Random::for_test("delivery under kill");
    let mut cluster = Cluster::builder().start();
    let load = Load::start(&cluster, &mut random);
    for _ in 0..5 {
        let goal = load.committed() + 100 + random.below(300);
        let progressed = wait_until(PATIENCE, || load.committed() >= goal);
        assert!(progressed, "the load stands still at {} events", load.committed());
        cluster.stop(Stop::Kill);
        cluster.start();
    }
    load.finish().assert_nothing_lost();
}
