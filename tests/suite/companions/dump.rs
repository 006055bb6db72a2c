//! Logical dump and restore.

use std::io::Write as _;
use std::process::Stdio;

use pgq_tests::{Tree, scratch_database_on};
use postgres::Client;

use crate::companions::full;
use pgq_tests::query::{row, rows, run};

/// Everything the companions keep, and the group of consumers.
fn state(client: &mut Client) -> Vec<String> {
    [
        "pgq_node.node_location",
        "pgq_node.node_info",
        "pgq_node.local_state",
        "pgq_node.subscriber_info",
        "pgq_ext.completed_tick",
        "pgq_ext.completed_batch",
        "pgq_ext.completed_event",
        "pgq_ext.partial_batch",
        "(select queue_name, consumer_name, last_tick, current_batch, next_tick from \
         pgq.get_consumer_info())",
    ]
    .into_iter()
    .flat_map(|table| {
        rows(
            client,
            &format!(
                "select '{table}', t.* from {table} t order by \
        t::text"
            ),
        )
    })
    .collect()
}

/// Fill a database with something of everything.
fn fill(client: &mut Client) {
    run(
        client,
        "select pgq_node.register_location('q', 'n1', 'dbname=n1', false), \
         pgq_node.register_location('q', 'n2', 'x', true);
         select pgq_node.create_node('q', 'root', 'n1', 'n1_worker', null, null, null);
         select pgq_node.register_subscriber('q', 'n2', 'n2_worker', null);
         select pgq_node.set_node_attrs('q', 'sync_watermark=n2');
         update pgq.queue set queue_ticker_max_count = 1, queue_ticker_max_lag = '0';
         insert into pgq.consumer (co_name) select 'unused' where false;
         select pgq_coop.register_subconsumer('q', 'm', 's1'), pgq_coop.register_subconsumer('q', \
         'm', 's2')",
    );
    run(client, "select pgq.insert_event('q', 'test', 'one')");
    run(client, "select pgq.ticker('q')");
    run(client, "select pgq_coop.next_batch('q', 'm', 's1')");
    run(
        client,
        "select pgq_ext.set_batch_done('c', 5), pgq_ext.set_batch_done('c', 'part', 6), \
         pgq_ext.set_last_tick('c', 7),
                pgq_ext.set_event_done('c', 5, 55)",
    );
}

#[test]
fn dump_and_restore_keep_nodes_groups_and_tracking() {
    let (database, mut client) = full();
    fill(&mut client);
    let before = state(&mut client);
    assert_eq!(before.len(), 2 + 1 + 1 + 1 + 1 + 2 + 1 + 1 + 6);

    let restored = scratch_database_on(Tree::Ours);
    let cluster = database.cluster();
    let dump = cluster.command("pg_dump").arg(database.name()).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let mut psql = cluster.command("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", restored.name()]);
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    psql.stdin.take().unwrap().write_all(&dump.stdout).unwrap();
    assert!(psql.wait().unwrap().success());

    let mut client = restored.connect();
    assert_eq!(state(&mut client), before);
    let batch = row(&mut client, "select pgq_coop.next_batch('q', 'm', 's1')");
    assert_eq!(
        rows(&mut client, &format!("select ev_data from pgq.get_batch_events({batch})")),
        ["one"]
    );
    assert_eq!(row(&mut client, &format!("select pgq_coop.finish_batch({batch})")), "1");
    assert_eq!(row(&mut client, "select pgq_ext.set_batch_done('c', 5)"), "f");
    assert_eq!(row(&mut client, "select ret_code from pgq_node.get_node_info('q')"), "100");
}
