//! The root is lost, and a branch takes its place.

use crate::companions::cascade::set::Set;
use crate::companions::cascade::worker::Death;
use pgq_tests::query::{row, run};

#[test]
fn branch_takes_the_place_of_a_lost_root_with_all_it_has() {
    let set = Set::new(&["branch", "leaf", "root"]);
    set.create("root", "root", None);
    set.create("branch", "branch", Some("root"));
    set.create("leaf", "leaf", Some("root"));
    let (mut branch, mut leaf) = (set.worker("branch"), set.worker("leaf"));
    let mut produced = Vec::new();
    let mut insert = |site: &str, data: &str| {
        let mut client = set.connect(site);
        client.execute("select pgq.insert_event('q', 'data', $1)", &[&data]).unwrap();
        run(&mut client, "select pgq.ticker('q')");
        produced.push(data.to_owned());
    };
    insert("root", "for both");
    while branch.work(Death::Never) {}
    while leaf.work(Death::Never) {}

    // The branch's worker dies before it tells its queue of the last batch, and with it the root.
    insert("root", "for the branch only");
    assert!(branch.work(Death::AfterCommit));
    assert_eq!(set.problems(), ["branch: tick missing"]);
    for site in ["branch", "leaf"] {
        run(&mut set.connect(site), "select pgq_node.register_location('q', 'root', null, true)");
    }
    assert_eq!(
        set.problems(),
        ["branch: provider is dead", "branch: tick missing", "leaf: provider is dead"]
    );

    let position = set.info("leaf", "worker_last_tick");
    run(&mut set.connect("branch"), "select pgq_node.promote_branch('q')");
    let subscribe = format!(
        "select ret_code from pgq_node.register_subscriber('q', 'leaf', 'leaf_worker', {position})"
    );
    assert_eq!(row(&mut set.connect("branch"), &subscribe), "200");
    let change =
        "select ret_code from pgq_node.change_consumer_provider('q', 'leaf_worker', 'branch')";
    assert_eq!(row(&mut set.connect("leaf"), change), "200");
    insert("branch", "from the new root");
    while leaf.work(Death::Never) {}
    set.assert_applied("leaf", &produced);
    // The lost root itself sees nothing of it.
    let problems: Vec<_> =
        set.problems().into_iter().filter(|problem| !problem.starts_with("root:")).collect();
    assert_eq!(problems, Vec::<String>::new());
}
