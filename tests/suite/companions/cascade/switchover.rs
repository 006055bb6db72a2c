//! Provider changes and root switchovers while events flow, workers die and the administrator dies
//! too.

use std::sync::atomic::{AtomicBool, Ordering};

use pgq_tests::{PATIENCE, Random, wait_until};

use crate::companions::cascade::set::Set;
use pgq_tests::query::{row, run};

/// An administrator who dies after a number of steps.
struct Administrator {
    steps: usize,
}

impl Administrator {
    /// Counts a step; true when it was the last.
    fn dies(&mut self) -> bool {
        self.steps = self.steps.saturating_sub(1);
        self.steps == 0
    }

    /// Call a function that answers with a code; one of the given ones is due.
    fn call(set: &Set, site: &str, call: &str, codes: &[&str]) {
        let answer =
            row(&mut set.connect(site), &format!("select ret_code, ret_note from pgq_node.{call}"));
        let code = answer.split('|').next().unwrap();
        assert!(codes.contains(&code), "{call} on {site}: {answer}");
    }

    /// Wait until the queue on a node has got as far as a tick of another node.
    fn await_tick(set: &Set, site: &str, tick: &str) {
        let top = "select local_queue_top from pgq_node.get_worker_state('q')";
        let tick: u64 = tick.parse().unwrap();
        let has_tick =
            || row(&mut set.connect(site), top).parse::<u64>().is_ok_and(|top| top >= tick);
        assert!(wait_until(PATIENCE, has_tick), "{site} does not reach tick {tick}");
    }

    /// Make `new` the root instead of `old`. The procedure of docs/cascades.md: run again, it goes
    /// on where it ended. False when the administrator died on the way.
    fn switch_root(&mut self, set: &Set, old: &str, new: &str) -> bool {
        if set.info(new, "node_type") != "root" {
            Self::call(set, old, "demote_root('q', 1, null)", &["200"]);
            if self.dies() {
                return false;
            }
            Self::call(set, old, "demote_root('q', 2, null)", &["200"]);
            if self.dies() {
                return false;
            }
            Self::await_tick(set, new, &set.info(old, "worker_last_tick"));
            Self::call(set, new, "promote_branch('q')", &["200"]);
            if self.dies() {
                return false;
            }
        }
        let last = set.info(old, "worker_last_tick");
        Self::call(
            set,
            new,
            &format!("register_subscriber('q', '{old}', '{old}_worker', {last})"),
            &["200", "201"],
        );
        if self.dies() {
            return false;
        }
        Self::call(set, old, &format!("unregister_subscriber('q', '{new}')"), &["200", "304"]);
        if self.dies() {
            return false;
        }
        Self::call(set, old, &format!("demote_root('q', 3, '{new}')"), &["200", "301"]);
        !self.dies()
    }

    /// Make a node read from another provider.
    fn change_provider(set: &Set, node: &str, old: &str, new: &str) {
        let worker = format!("{node}_worker");
        Self::call(set, node, &format!("set_consumer_paused('q', '{worker}', true)"), &["200"]);
        assert!(wait_until(PATIENCE, || set.info(node, "worker_uptodate") == "t"));
        let position = set.info(node, "worker_last_tick");
        // A leaf that read from the root may be ahead of a branch.
        Self::await_tick(set, new, &position);
        Self::call(
            set,
            new,
            &format!("register_subscriber('q', '{node}', '{worker}', {position})"),
            &["200"],
        );
        Self::call(
            set,
            node,
            &format!("change_consumer_provider('q', '{worker}', '{new}')"),
            &["200"],
        );
        Self::call(set, old, &format!("unregister_subscriber('q', '{node}')"), &["200"]);
        Self::call(set, node, &format!("set_consumer_paused('q', '{worker}', false)"), &["200"]);
    }
}

/// Run `administration` while events are produced and the workers of all nodes run and die; what
/// was produced.
fn under_load(
    set: &Set,
    names: &[&'static str],
    name: &str,
    administration: impl FnOnce(),
) -> Vec<String> {
    let stop = AtomicBool::new(false);
    let mut random = Random::for_test(name);
    std::thread::scope(|scope| {
        for name in names {
            let mut random = random.fork();
            let stop = &stop;
            scope.spawn(move || set.worker(name).work_until(stop, &mut random));
        }
        let producer = scope.spawn(|| set.produce_until(&stop, "leaf"));
        // However it ends, the others have to end as well.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let guard = Stop(&stop);
        administration();
        drop(guard);
        producer.join().unwrap()
    })
}

/// Wait until a node has applied some more events.
fn some_more(set: &Set, name: &str) {
    let mut client = set.connect(name);
    let mut count =
        move || row(&mut client, "select count(*) from applied").parse::<u64>().unwrap();
    let goal = count() + 15;
    assert!(wait_until(PATIENCE, || count() >= goal), "events do not reach {name}");
}

#[test]
fn leaf_that_changes_its_provider_under_load_misses_and_repeats_nothing() {
    let set = Set::new(&["root", "branch", "leaf"]);
    set.create("root", "root", None);
    set.create("branch", "branch", Some("root"));
    set.create("leaf", "leaf", Some("branch"));
    let produced =
        under_load(&set, &["root", "branch", "leaf"], "leaf_that_changes_its_provider", || {
            some_more(&set, "leaf");
            Administrator::change_provider(&set, "leaf", "branch", "root");
            some_more(&set, "leaf");
            Administrator::change_provider(&set, "leaf", "root", "branch");
            some_more(&set, "leaf");
        });
    set.drain("root");
    set.assert_applied("branch", &produced);
    set.assert_applied("leaf", &produced);
    set.assert_same_queues("root", "branch", &produced);
    assert_eq!(set.problems(), Vec::<String>::new());
    // The watermark has come back down to the branch.
    set.forget_probes(&["root", "branch"]);
    set.drain("root");
    run(&mut set.connect("root"), "select pgq_node.set_global_watermark('q', null)");
    set.drain("root");
    let watermark = set.info("branch", "global_watermark").parse::<u64>().unwrap();
    assert!(watermark > 1, "the watermark is {watermark}");
}

#[test]
fn root_moves_under_load_wherever_the_administrator_dies() {
    let set = Set::new(&["here", "leaf", "there"]);
    set.create("here", "root", None);
    set.create("there", "branch", Some("here"));
    set.create("leaf", "leaf", Some("there"));
    let mut nodes = ("here", "there");
    let produced = under_load(&set, &["here", "leaf", "there"], "root_moves_under_load", || {
        for steps in 1..=6 {
            some_more(&set, "leaf");
            let (old, new) = nodes;
            assert!(
                !Administrator { steps }.switch_root(&set, old, new),
                "{steps} steps are all there are"
            );
            if steps < 6 {
                let problems = set.problems();
                assert!(problems.contains(&format!("{old}: half demoted")), "{problems:?}");
            }
            assert!(Administrator { steps: usize::MAX }.switch_root(&set, old, new));
            nodes = (new, old);
        }
        some_more(&set, "leaf");
    });
    let (root, branch) = nodes;
    assert_eq!(set.info(root, "node_type"), "root");
    assert_eq!(set.info(branch, "node_type"), "branch");
    set.drain(root);
    set.assert_applied("leaf", &produced);
    set.assert_same_queues(root, branch, &produced);
    assert_eq!(set.problems(), Vec::<String>::new());
}
