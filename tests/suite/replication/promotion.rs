//! Locks and forms that a branch's worker meets in its own queue.

use pgq_tests::query::{outcome, row, run};
use pgq_tests::{PATIENCE, Tree, wait_until};

use super::set::{Driver, Set};

by_both! {
    a_branch_locks_its_queue_before_its_place_as_a_promotion_does,
    times_of_events_are_the_same_however_databases_show_dates,
}

fn a_branch_locks_its_queue_before_its_place_as_a_promotion_does(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("branch", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("branch", "branch", Some("root"));
    let _worker = set.start("branch", None);
    let (mut root, mut branch) = (set.connect("root"), set.connect("branch"));
    set.await_sync("root", "branch");
    // As pgq_node.promote_branch() does: first the tables of events, then the node's rows.
    run(&mut branch, "begin; select pgq_node._lock_events('q')");
    run(&mut root, "select pgq_node.register_location('q', 'elsewhere', 'dbname=x', false)");
    run(&mut root, "select pgq.ticker('q')");
    const WAITS: &str = "select count(*) from pg_locks l join pg_class c on c.oid = l.relation
                          where not l.granted and c.relname like 'event%'
                            and l.database = (select oid from pg_database
                                               where datname = current_database())";
    let waits = || row(&mut set.connect("branch"), WAITS) == "1";
    assert!(wait_until(PATIENCE, waits), "{}", set.said("branch"));
    let place = "select count(*) from (select from pgq_node.local_state for update) s";
    assert_eq!(outcome(&mut branch, place), "1");
    run(&mut branch, "commit");
    set.await_sync("root", "branch");
    assert!(!set.said("branch").contains("deadlock"), "{}", set.said("branch"));
}

fn times_of_events_are_the_same_however_databases_show_dates(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("branch", Tree::Ours)]);
    for (name, style) in [("root", "SQL, DMY"), ("branch", "SQL, MDY")] {
        let mut here = set.connect(name);
        let database = row(&mut here, "select current_database()");
        run(&mut here, &format!("alter database \"{database}\" set datestyle = '{style}'"));
    }
    set.create("root", "root", None);
    set.create("branch", "branch", Some("root"));
    for (name, day) in [("early", "2024-02-03"), ("late", "2024-02-28")] {
        let sql = format!(
            "insert into pgq.event_template (ev_time, ev_type, ev_data, ev_extra1)
             values ('{day} 10:00:00.123456+00', 'pgq.location-info', '{name}', 'q')"
        );
        let table = row(&mut set.connect("root"), "select pgq.current_event_table('q')");
        run(&mut set.connect("root"), &sql.replace("pgq.event_template", &table));
    }
    let _worker = set.start("branch", None);
    set.await_sync("root", "branch");
    const TIMES: &str = "select ev_data, extract(epoch from ev_time) from pgq.event_template
                          where ev_data in ('early', 'late') order by 1";
    set.assert_same("root", "branch", TIMES);
    assert_eq!(row(&mut set.connect("branch"), &format!("select count(*) from ({TIMES}) t")), "2");
}
