//! Replication by hand: what the triggers of pgbench's tables capture, applied to a second
//! database, makes it the same.

use pgq_tests::{Tree, scratch_database, scratch_database_on};
use postgres::{Client, SimpleQueryMessage};

const TABLES: [(&str, &str); 4] = [
    ("pgbench_accounts", "aid"),
    ("pgbench_branches", "bid"),
    ("pgbench_tellers", "tid"),
    ("pgbench_history", "tid, bid, aid, delta, mtime"),
];

#[test]
fn a_replayed_pgbench_run_leaves_two_equal_databases() {
    let source = scratch_database();
    let target = scratch_database_on(Tree::Ours);
    for database in [source.name(), target.name()] {
        pgbench(source.cluster(), database, &["-i", "-q", "-s", "1"]);
    }
    let mut db = source.connect();
    db.batch_execute(
        "select pgq.create_queue('q'); select pgq.register_consumer('q', 'copy');
         update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    )
    .unwrap();
    for (table, _) in TABLES {
        db.batch_execute(&format!(
            "create trigger capture after insert or update or delete on {table}
                 for each row execute function pgq.logutriga('q');
             create trigger capture_truncate after truncate on {table}
                 execute function pgq.logutriga('q')"
        ))
        .unwrap();
    }
    let mut copy = target.connect();
    copy.batch_execute(include_str!("../../demo/capture.sql")).unwrap();

    // Ticks and batches fall into the run, and the tables are written by several sessions at once.
    let running = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            pgbench(source.cluster(), source.name(), &["-n", "-c", "4", "-j", "2", "-t", "150"]);
        });
        let mut replayed = 0;
        while !run.is_finished() {
            replayed += replay_batch(&mut db, &mut copy);
        }
        run.join().unwrap();
        replayed
    });
    // Names, NULLs and bytes of every kind survive the way too.
    db.batch_execute(
        "update pgbench_branches set filler = E'a&b=c%d+e f''g\\\\h\\u00e4\\U0001F600\\n\\x01' where bid = 1;
         update pgbench_tellers set filler = '' where tid = 2;
         delete from pgbench_accounts where aid % 1000 = 7;
         insert into pgbench_accounts values (500000, 1, null, 'new')",
    )
    .unwrap();
    let mut replayed = running;
    // A batch holds what was committed before its tick, so the one after an empty one may still
    // bring something.
    for _ in 0..3 {
        replayed += replay_batch(&mut db, &mut copy);
    }
    assert_eq!(replayed, 600 * 4 + 1 + 1 + 100 + 1);
    for (table, order) in TABLES {
        let rows = |client: &mut Client| {
            simple_rows(client, &format!("select * from {table} order by {order}"))
        };
        assert_eq!(rows(&mut db), rows(&mut copy), "{table}");
    }
    assert_eq!(simple_rows(&mut copy, "select count(*) from pgbench_history"), [["600"]]);

    db.batch_execute("truncate pgbench_history").unwrap();
    for _ in 0..2 {
        replay_batch(&mut db, &mut copy);
    }
    assert_eq!(simple_rows(&mut copy, "select count(*) from pgbench_history"), [["0"]]);
}

/// Tick, and apply the next batch to the copy; the number of its events.
fn replay_batch(db: &mut Client, copy: &mut Client) -> usize {
    db.batch_execute("select pgq.ticker('q')").unwrap();
    let batch: Option<i64> =
        db.query_one("select pgq.next_batch('q', 'copy')", &[]).unwrap().get(0);
    let Some(batch) = batch else { return 0 };
    let events = db
        .query("select ev_type, ev_data, ev_extra1 from pgq.get_batch_events($1)", &[&batch])
        .unwrap();
    let mut transaction = copy.transaction().unwrap();
    let replay = transaction.prepare("call replay_event($1, $2, $3)").unwrap();
    for event in &events {
        let field = |index| event.get::<_, Option<&str>>(index);
        transaction.execute(&replay, &[&field(0), &field(1), &field(2)]).unwrap();
    }
    transaction.commit().unwrap();
    db.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    events.len()
}

fn pgbench(cluster: &pgq_tests::Cluster, database: &str, arguments: &[&str]) {
    let output = cluster.command("pgbench").args(arguments).arg(database).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The rows of a query as text.
fn simple_rows(client: &mut Client, query: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(query).unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect())
        .collect()
}
