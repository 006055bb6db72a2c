//! Part two: pgbench's own tables with capture triggers, replayed into two other databases: by SQL,
//! and by `pgq load`.

use std::process::{Command, Stdio};

use pgq_tests::Cluster;
use postgres::Client;

const TABLES: [&str; 4] =
    ["pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history"];
const TRANSACTIONS: u32 = 500;

pub(crate) fn run(cluster: &Cluster) {
    println!(
        "\nCapture: logutriga on pgbench's tables in database shop, replayed into copy by SQL, \
         into warehouse by pgq load"
    );
    for database in ["shop", "copy", "warehouse"] {
        cluster.connect("postgres").batch_execute(&format!("create database {database}")).unwrap();
        pgbench(cluster, &["-i", "-q", database]);
    }
    let mut shop = cluster.connect("shop");
    let mut copy = cluster.connect("copy");
    let mut warehouse = cluster.connect("warehouse");
    warehouse.batch_execute("create extension pgq_ext").unwrap();
    shop.batch_execute(
        "create extension pgq; select pgq.create_queue('changes');
         select pgq.register_consumer('changes', 'copier'); select \
         pgq.register_consumer('changes', 'loader')",
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
    let (from, to) = (cluster.conninfo("shop"), cluster.conninfo("warehouse"));
    pgq(&["load", "--quiet", "--once", "--dsn", &from, "--to", &to, "changes", "loader"]);
    for table in TABLES {
        let sum = |client: &mut Client| -> (i64, i64) {
            let sql = format!(
                "select count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric) % 1e15, \
                 0)::bigint from {table} t"
            );
            let row = client.query_one(&sql, &[]).unwrap();
            (row.get(0), row.get(1))
        };
        let (here, there, loaded) = (sum(&mut shop), sum(&mut copy), sum(&mut warehouse));
        let is_equal = here == there && here == loaded;
        println!(
            "  {table:<17} {} rows, checksum {}: {}",
            here.0,
            here.1,
            if is_equal { "all three equal" } else { "DIFFERENT" }
        );
        assert!(is_equal, "{table} differs: {here:?}, {there:?}, {loaded:?}");
    }
    println!("\npgq top, one look at shop:");
    print!("{}", pgq(&["top", "--count", "1", "--dsn", &from]));
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

/// Run the command that `make demo` has built; what it prints.
fn pgq(args: &[&str]) -> String {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let program = std::path::Path::new(&target).join("debug/pgq");
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "pgq {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
