//! Producing.

use std::process::Command;

use crate::measure::{Measured, Series, median};
use crate::servers::Servers;

const EVENTS: i32 = 50_000;
const ROUNDS: usize = 9;
/// 103 bytes, as a change-capture trigger would send.
const DATA: &str = "repeat('id=1&name=some+text&value=', 3) || 'x'";

/// CPU per event, many events in one transaction.
pub(crate) fn in_one_transaction(servers: &Servers) {
    let (mut ours, mut peer) = {
        let (ours, peer) = servers.connect();
        (Measured::new(ours), Measured::new(peer))
    };
    for measured in [&mut ours, &mut peer] {
        measured.client.batch_execute("select pgq.create_queue('bench')").unwrap();
    }
    let file = servers.ours.dir().join("rows.copy").display().to_string();
    ours.client
        .batch_execute(&format!(
            "copy (select now(), 'type', {DATA} from generate_series(1, {EVENTS})) to '{file}'"
        ))
        .unwrap();

    let single = format!(
        "select count(pgq.insert_event('bench', 'type', {DATA})) from generate_series(1, {EVENTS})"
    );
    let bulk = format!(
        "select sum(pgq.insert_events('bench', a.types, a.data)) from
           (select array_agg('type'::text) as types, array_agg({DATA}) as data from \
           generate_series(1, 1000)) a,
           generate_series(1, {})",
        EVENTS / 1000
    );
    let columns = "(ev_time, ev_type, ev_data)";
    let raw = format!(
        "insert into pgq.event_1_0 {columns} select now(), 'type', {DATA} from generate_series(1, \
         {EVENTS})"
    );
    let copy = format!("copy pgq.event_1_0 {columns} from '{file}'");
    let mut series = [
        Series::new("upstream insert_event(3)"),
        Series::new("ours insert_event(3)"),
        Series::new("ours insert_events(), 1,000 a call"),
        Series::new("raw INSERT ... SELECT"),
        Series::new("COPY FROM file"),
    ];
    let statements = [&single, &single, &bulk, &raw, &copy];
    for round in 0..=ROUNDS {
        for (i, statement) in statements.into_iter().enumerate() {
            let measured = if i == 0 { &mut peer } else { &mut ours };
            let cost = measured.cost(|client| client.batch_execute(statement).unwrap());
            // Every variant starts on an empty table; the first round only warms up.
            measured.client.batch_execute("truncate pgq.event_1_0; checkpoint").unwrap();
            if round > 0 {
                series[i].costs.push(cost / f64::from(EVENTS));
            }
        }
    }
    println!(
        "Insert, {EVENTS} events of 103 bytes in one transaction: backend CPU per event, median \
         of {ROUNDS} rounds"
    );
    println!("  {:<38}{:>8}{:>13}{:>13}", "", "us", "vs upstream", "vs raw");
    for one in &series {
        println!(
            "  {:<38}{:>8.2}{:>12.2}x{:>12.2}x",
            one.name,
            median(&one.costs) / 1000.0,
            one.times_cheaper_than(&series[0]),
            one.times_cheaper_than(&series[3])
        );
    }
    println!("  insert_events() against COPY: {:.2}x", series[2].times_cheaper_than(&series[4]));
}

/// Transactions per second with one event each: bound by the commit, whoever inserts.
pub(crate) fn one_per_transaction(servers: &Servers) {
    let script = servers.ours.dir().join("one.sql");
    std::fs::write(&script, "select pgq.insert_event('single', 'type', 'id=1&name=some+text');\n")
        .unwrap();
    let mut figures = [Vec::new(), Vec::new()];
    for cluster in [&servers.ours, &servers.peer] {
        cluster.connect("postgres").batch_execute("select pgq.create_queue('single')").unwrap();
    }
    for _ in 0..3 {
        for (i, cluster) in [&servers.ours, &servers.peer].into_iter().enumerate() {
            let mut pgbench: Command = cluster.command("pgbench");
            let output = pgbench
                .args(["-n", "-M", "prepared", "-c", "2", "-T", "3", "-f"])
                .arg(&script)
                .arg("postgres")
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let tps = text
                .lines()
                .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
            figures[i].push(tps.expect("pgbench prints tps"));
        }
    }
    println!(
        "Insert, one event per transaction, 2 clients, synchronous_commit on: transactions per \
         second (commit-bound)"
    );
    println!("  ours {:.0}, upstream {:.0}", median(&figures[0]), median(&figures[1]));
}
