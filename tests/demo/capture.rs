//! Part two: pgbench's own tables with capture triggers, replayed into a copy in another database.

use std::process::{Command, Stdio};

use pgq_tests::Cluster;
use postgres::Client;

const TABLES: [&str; 4] =
    ["pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history"];
const TRANSACTIONS: u32 = 500;

pub(crate) fn run(cluster: &Cluster) {
    println!(
        "\nCapture: logutriga on pgbench's tables in database shop, replayed into database copy"
    );
    for database in ["shop", "copy"] {
        cluster.connect("postgres").batch_execute(&format!("create database {database}")).unwrap();
        pgbench(cluster, &["-i", "-q", database]);
    }
    let mut shop = cluster.connect("shop");
    let mut copy = cluster.connect("copy");
    shop.batch_execute(
        "create extension pgq; select pgq.create_queue('changes'); select pgq.register_consumer('changes', 'copier')",
    )
    .unwrap();
    for table in TABLES {
        shop.batch_execute(&format!(
            "create trigger capture after insert or update or delete on {table}
                 for each row execute function pgq.logutriga('changes')"
        ))
        .unwrap();
    }
    copy.batch_execute(include_str!("capture.sql")).unwrap();

    pgbench(cluster, &["-n", "-c", "4", "-t", &TRANSACTIONS.to_string(), "shop"]);
    let events = replay(&mut shop, &mut copy);
    println!("  {} transactions gave {events} events", 4 * TRANSACTIONS);
    for table in TABLES {
        let sum = |client: &mut Client| -> (i64, i64) {
            let sql = format!(
                "select count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric) % 1e15, 0)::bigint from {table} t"
            );
            let row = client.query_one(&sql, &[]).unwrap();
            (row.get(0), row.get(1))
        };
        let (here, there) = (sum(&mut shop), sum(&mut copy));
        println!(
            "  {table:<17} {} rows, checksum {}: {}",
            here.0,
            here.1,
            if here == there { "equal" } else { "DIFFERENT" }
        );
        assert_eq!(here, there, "{table} differs");
    }
}

/// Apply every event to the copy, a batch in a transaction; how many.
fn replay(shop: &mut Client, copy: &mut Client) -> usize {
    let mut events = 0;
    loop {
        let wait = "call pgq.wait_batch('changes', 'copier', '2 s')";
        let Some(batch) = shop.query_one(wait, &[]).unwrap().get::<_, Option<i64>>(0) else {
            return events;
        };
        let mut transaction = copy.transaction().unwrap();
        let apply = transaction.prepare("call replay_event($1, $2, $3)").unwrap();
        for event in shop
            .query("select ev_type, ev_data, ev_extra1 from pgq.get_batch_events($1)", &[&batch])
            .unwrap()
        {
            let (kind, data, table): (String, String, String) =
                (event.get(0), event.get(1), event.get(2));
            transaction.execute(&apply, &[&kind, &data, &table]).unwrap();
            events += 1;
        }
        transaction.commit().unwrap();
        shop.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    }
}

fn pgbench(cluster: &Cluster, args: &[&str]) {
    let mut command: Command = cluster.command("pgbench");
    let status = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "pgbench failed");
}
