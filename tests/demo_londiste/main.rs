//! `make demo-londiste`: a shop's tables are replicated to two other databases by the servers
//! themselves, copied under load, and the root moves under load; at the end every row is compared.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a demonstration: a failed step is its failure"
)]
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod lag;
mod load;
mod node;

use std::time::Instant;

use pgq_tests::query::{row, rows};
use pgq_tests::{Cluster, PATIENCE, wait_until};

use load::Load;
use node::Node;

/// What is replicated: the tables of pgbench, and one for the commits whose lag is measured.
const TABLES: [&str; 5] =
    ["pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history", "beat"];

fn main() {
    let clock = Instant::now();
    let say = |text: &str| println!("{:6.1} s  {text}", clock.elapsed().as_secs_f32());

    let servers = [server(), server()];
    let berlin = Node::new(&servers[0], "berlin");
    let paris = Node::new(&servers[1], "paris");
    let rome = Node::new(&servers[1], "rome");
    let nodes = [&berlin, &paris, &rome];
    berlin.pgbench(&["-i", "-q", "-s", "2"]);
    for other in [&paris, &rome] {
        other.pgbench(&["-i", "-q", "-I", "dtp"]);
    }
    for node in nodes {
        node.sql("alter table pgbench_history add column id bigserial primary key");
        node.sql("create table beat (n int primary key)");
    }
    say("two private servers run: berlin with pgbench's tables, paris and rome with empty ones");

    for node in nodes {
        node.name_servers(&nodes);
    }
    berlin.answers("londiste.create_root('shop', 'berlin', $location)");
    paris.answers(&format!(
        "londiste.create_branch('shop', 'paris', $location, '{}')",
        berlin.location().replace('\'', "''")
    ));
    rome.answers(&format!(
        "londiste.create_leaf('shop', 'rome', $location, '{}')",
        paris.location().replace('\'', "''")
    ));
    for node in nodes {
        node.answers("londiste.start_worker('shop', 2)");
    }
    say(
        "berlin is the root, paris a branch, rome a leaf of paris; each server works for its nodes",
    );

    let load = Load::start(&servers, [&berlin, &paris]);
    for node in nodes {
        node.attach(&TABLES);
    }
    for node in [&paris, &rome] {
        node.wait_for("every table copied", NOT_IN_SYNC, "");
        let copied = row(&mut node.connect(), "select count(*) from pgbench_accounts");
        say(&format!("{} has its copies, {copied} accounts, made under load", node.name()));
    }
    let (middle, worst) = lag::measure(&berlin, &rome, 1..=COMMITS);
    say(&format!(
        "{COMMITS} commits at berlin were seen at rome, two hops away, beside the load: median {middle:.1} ms, slowest {worst:.1} ms"
    ));

    let before = Instant::now();
    paris.command(&["takeover", "berlin", "--all"]);
    say(&format!(
        "paris is the root and berlin reads from it: `pgq londiste paris.ini takeover berlin --all` took {:.1} s under load",
        before.elapsed().as_secs_f32()
    ));
    load.await_commits_at(1);
    let (middle, worst) = lag::measure(&paris, &berlin, COMMITS + 1..=2 * COMMITS);
    say(&format!(
        "{COMMITS} commits at paris were seen at berlin, one hop away: median {middle:.1} ms, slowest {worst:.1} ms"
    ));

    let [first, second] = load.finish();
    say(&format!("the load has ended: berlin acknowledged {first} transactions, paris {second}"));
    let end = i32::MAX;
    paris.sql(&format!("insert into beat values ({end})"));
    let here = format!("select count(*) from beat where n = {end}");
    for node in [&berlin, &rome] {
        node.wait_for("the last row", &here, "1");
    }
    let mut differ = 0;
    for table in TABLES {
        let sql = format!("select count(*), sum(hashtextextended(t::text, 0)) from {table} t");
        let found = nodes.map(|node| row(&mut node.connect(), &sql));
        let is_same = found.iter().all(|other| *other == found[0]);
        differ += usize::from(!is_same);
        let count = found[0].split('|').next().unwrap_or_default();
        match is_same {
            true => say(&format!("{table}: {count} rows, the same everywhere")),
            false => say(&format!("{table} DIFFERS: rows and hash are {}", found.join(", "))),
        }
    }
    let history = row(&mut rome.connect(), "select count(*) from pgbench_history");
    assert_eq!(differ, 0, "tables differ");
    assert_eq!(history, (first + second).to_string(), "acknowledged transactions are missing");
    say("every acknowledged transaction is there once, and every row is the same on all nodes");
}

/// Commits whose lag is measured.
const COMMITS: i32 = 30;

/// Tables of a node that are not in sync.
const NOT_IN_SYNC: &str = "select table_name, merge_state from londiste.get_table_list('shop')
                            where merge_state is distinct from 'ok'";

fn server() -> Cluster {
    Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("max_worker_processes", 24)
        .set("shared_buffers", "256MB")
        .set("max_wal_size", "4GB")
        .start()
}

/// Wait until a query has this answer, or fail with what the server's workers say.
fn wait(node: &Node<'_>, what: &str, sql: &str, answer: &str) {
    let (mut client, mut found) = (node.connect(), String::new());
    let is_there = wait_until(PATIENCE, || {
        found = rows(&mut client, sql).join("\n");
        found == answer
    });
    let status = rows(&mut client, "select * from londiste.worker_status()");
    assert!(is_there, "{}: {what} is not there: {found}; {status:?}", node.name());
}
