//! Part one: pgbench puts events into a queue in the transactions of its updates, two consumers
//! read them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pgq_tests::{Cluster, wait_until};

use crate::consumer::{Consumer, Sum};

const SECONDS: u32 = 8;
const SCRIPT: &str = "\
\\set aid random(1, 100000 * :scale)
\\set delta random(-5000, 5000)
begin;
update pgbench_accounts set abalance = abalance + :delta where aid = :aid;
insert into pgbench_history (tid, bid, aid, delta, mtime) values (1, 1, :aid, :delta, \
current_timestamp);
select pgq.insert_event('payments', 'payment', format('aid=%s&delta=%s', :aid::int, :delta::int));
end;
";

pub(crate) fn run(cluster: &Cluster) {
    let mut client = cluster.connect("postgres");
    let mut init: Command = cluster.command("pgbench");
    let status =
        init.args(["-i", "-q", "-s", "5", "postgres"]).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "pgbench -i failed");
    client
        .batch_execute(
            "select pgq.create_queue('payments');
             select pgq.set_queue_config('payments', 'rotation_period', '1 second');",
        )
        .unwrap();
    let consumers = [
        ("accounting", Consumer::start(cluster, "payments", "accounting")),
        ("mailer", Consumer::start(cluster, "payments", "mailer")),
    ];

    let script = cluster.dir().join("payment.sql");
    std::fs::write(&script, SCRIPT).unwrap();
    println!(
        "pgbench: {SECONDS} s, 4 clients; each transaction updates an account and inserts an event"
    );
    let began = Instant::now();
    let mut load: Command = cluster.command("pgbench");
    let mut load = load
        .args(["-n", "-M", "prepared", "-c", "4", "-T", &SECONDS.to_string(), "-f"])
        .arg(&script)
        .arg("postgres")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut rotations = 0;
    let mut current: i32 = 0;
    while load.try_wait().unwrap().is_none() {
        let row = client
            .query_one("select queue_cur_table from pgq.queue where queue_name = 'payments'", &[]);
        let table: i32 = row.unwrap().get(0);
        if table != current {
            current = table;
            rotations += 1;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let produced = began.elapsed().as_secs_f64();
    assert!(load.wait().unwrap().success(), "pgbench failed");

    let row = client
        .query_one(
            "select count(*), coalesce(sum(hashtext(format('aid=%s&delta=%s', aid, delta))), \
             0)::bigint from pgbench_history",
            &[],
        )
        .unwrap();
    let committed = Sum { events: row.get(0), checksum: row.get(1), batches: 0 };
    println!("  committed: {} events, checksum {}", committed.events, committed.checksum);
    println!("  in:  {:.0} events/s", rate(committed.events, produced));
    for (name, consumer) in consumers {
        let sum = consumer.finish();
        let took = began.elapsed().as_secs_f64();
        println!(
            "  {name:<10} read {} events in {} batches, checksum {}, {:.0} events/s: {}",
            sum.events,
            sum.batches,
            sum.checksum,
            rate(sum.events, took),
            if (sum.events, sum.checksum) == (committed.events, committed.checksum) {
                "equal"
            } else {
                "DIFFERENT"
            }
        );
        assert_eq!(
            (sum.events, sum.checksum),
            (committed.events, committed.checksum),
            "{name} read something else"
        );
    }
    println!(
        "  rotation: the queue switched tables {rotations} times under the load, emptying old \
         ones by TRUNCATE"
    );
    let drained = wait_until(Duration::from_secs(10), || stored(&mut client).1 < committed.events);
    assert!(drained, "no table was emptied");
    let (size, rows) = stored(&mut client);
    println!("  now stored: {rows} events in {size}");
}

/// Size of the event tables and how many events they hold.
fn stored(client: &mut postgres::Client) -> (String, i64) {
    let row = client
        .query_one(
            "select pg_size_pretty(sum(pg_total_relation_size(c.inhrelid))), (select count(*) \
             from pgq.event_1)
               from pg_inherits c where c.inhparent = 'pgq.event_1'::regclass",
            &[],
        )
        .unwrap();
    (row.get(0), row.get(1))
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a rate to print")]
fn rate(events: i64, seconds: f64) -> f64 {
    events as f64 / seconds
}
