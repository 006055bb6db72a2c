//! Workers that die at any step, while a root is written and tables are copied anew: in the end all
//! nodes have each row once, and the queues the same ticks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgq_tests::query::{outcome, row, run};
use pgq_tests::{PATIENCE, Random, Tree, wait_until};
use postgres::Client;

use super::set::Set;

/// Steps of a worker; only a branch lays ticks.
const STEPS: [&str; 6] = [
    "tick.laid",
    "batch.opened",
    "events.read",
    "tracking.noted",
    "target.committed",
    "finish.committed",
];
/// Steps of a copy.
const COPY_STEPS: [&str; 6] = [
    "copier.registered",
    "rows.copied",
    "copy.committed",
    "sync.wanted",
    "sync.begun",
    "handed.over",
];

/// A transaction of a few random changes.
fn change(random: &mut Random) -> String {
    let mut sql = String::from("begin;\n");
    for _ in 0..=random.below(6) {
        let (id, value) = (random.below(40), random.next_u64() % 1_000_000);
        sql += &match random.below(6) {
            0 => format!("delete from item where id = {id};\n"),
            1..4 => format!("insert into log (note) values ('{value}');\n"),
            _ => format!(
                "insert into item values ({id}, '{value}') on conflict (id) do update set value = excluded.value;\n"
            ),
        };
    }
    sql + if random.one_in(8) { "rollback;" } else { "commit;" }
}

/// Have a table that is in sync copied once more.
fn copy_anew(client: &mut Client, random: &mut Random) {
    let table = if random.one_in(2) { "item" } else { "log" };
    let _ = outcome(
        client,
        &format!(
            "update londiste.table_info set merge_state = null, custom_snapshot = null
              where table_name = 'public.{table}' and merge_state = 'ok'"
        ),
    );
}

#[test]
fn workers_that_die_anywhere_lose_and_repeat_nothing() {
    let mut random = Random::for_test("die_anywhere");
    let set = Set::new(&[("root", Tree::Ours), ("branch", Tree::Peer), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("branch", "branch", Some("root"));
    set.create("leaf", "leaf", Some("branch"));
    for name in ["root", "branch", "leaf"] {
        run(
            &mut set.connect(name),
            "create table item (id int primary key, value text);
             create table log (id bigserial primary key, note text)",
        );
        for table in ["public.item", "public.log"] {
            set.attach(name, table, "");
        }
    }
    let stop = AtomicBool::new(false);
    let _workers = std::thread::scope(|scope| {
        let writer = {
            let (set, stop, mut random) = (&set, &stop, random.fork());
            scope.spawn(move || {
                let mut root = set.connect("root");
                while !stop.load(Ordering::Relaxed) {
                    run(&mut root, &change(&mut random));
                    run(&mut root, "select pgq.ticker('q')");
                    // Pace: workers that die are slower than a writer that does not.
                    std::thread::sleep(Duration::from_millis(80));
                }
            })
        };
        let killers: Vec<_> = ["branch", "leaf"]
            .map(|name| {
                let (set, mut random) = (&set, random.fork());
                scope.spawn(move || {
                    let mut steps: Vec<_> = STEPS.into_iter().chain(COPY_STEPS).collect();
                    steps.retain(|step| name == "branch" || *step != "tick.laid");
                    let mut here = set.connect(name);
                    while !steps.is_empty() {
                        let step = steps.swap_remove(random.below(steps.len() as u64) as usize);
                        let death = format!("{step}=kill@{}", 1 + random.below(2));
                        let mut worker = set.start(name, Some(&death));
                        // Copies have steps of their own, and go on for a while.
                        let every = if COPY_STEPS.contains(&step) { 50 } else { 300 };
                        wait_until(PATIENCE, || {
                            if random.one_in(every) {
                                copy_anew(&mut here, &mut random);
                            }
                            worker.is_dead()
                        });
                        let killed = worker.was_killed();
                        assert!(killed, "{name} does not die at {step}: {}", set.said(name));
                    }
                    // The other node may still need it.
                    set.start(name, None)
                })
            })
            .into_iter()
            .collect();
        let left: Vec<_> = killers.into_iter().map(|killer| killer.join()).collect();
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        left.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    });
    let _root_worker = set.start("root", None);
    for name in ["branch", "leaf"] {
        set.await_sync("root", name);
        set.assert_same("root", name, "select * from log order by id");
        set.assert_same("root", name, "select * from item order by id");
    }
    let copiers =
        "select count(*) from pgq.get_consumer_info('q') where consumer_name like '%.copy.%'";
    for name in ["root", "branch"] {
        set.await_answer("root", name, copiers, "0");
    }
    // Both queues have these ticks with the same events between them.
    let top = row(&mut set.connect("branch"), "select max(tick_id) from pgq.tick");
    let ticks =
        format!("select tick_id from pgq.tick where tick_id between 2 and {top} order by 1");
    set.assert_same("root", "branch", &ticks);
    let events = format!(
        "select ev_id, ev_type, ev_data, ev_extra1 from pgq.event_template
          where ev_id <= (select tick_event_seq from pgq.tick where tick_id = {top})
          order by 1"
    );
    set.assert_same("root", "branch", &events);
}
