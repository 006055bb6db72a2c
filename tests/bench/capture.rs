//! Change-capture triggers.

use crate::measure::{Measured, median};
use crate::servers::Servers;

const ROWS: i32 = 20_000;
const ROUNDS: usize = 5;
const STATEMENTS: [(&str, &str); 3] = [
    (
        "INSERT",
        "insert into captured select n, 'name ' || n, n * 1.5, now(), true, 'some text', n, null \
         from generate_series(1, $ROWS) n",
    ),
    ("UPDATE", "update captured set name = name || 'x', amount = amount + 1"),
    ("DELETE", "delete from captured"),
];

/// CPU that a trigger adds per row, over the same table without one.
pub(crate) fn run(servers: &Servers) {
    println!(
        "Capture triggers, 8 columns, {ROWS} rows a statement: CPU added per row, median of \
         {ROUNDS} rounds"
    );
    println!("  {:<34}{:<8}{:>14}{:>10}{:>9}", "trigger", "", "upstream us", "ours us", "ratio");
    let (ours, peer) = servers.connect();
    let mut both = [Measured::new(peer), Measured::new(ours)];
    for measured in &mut both {
        measured.client.batch_execute("select pgq.create_queue('capture')").unwrap();
    }
    let without = both.each_mut().map(|measured| costs(measured, None));
    for trigger in [
        "logutriga('capture')",
        "sqltriga('capture')",
        "jsontriga('capture')",
        "logutriga('capture', 'backup', 'ignore=note')",
        "jsontriga('capture', 'backup', 'ignore=note')",
    ] {
        let with = both.each_mut().map(|measured| costs(measured, Some(trigger)));
        for (i, (operation, _)) in STATEMENTS.iter().enumerate() {
            let added = [0, 1]
                .map(|side: usize| (with[side][i] - without[side][i]) / f64::from(ROWS) / 1000.0);
            println!(
                "  {:<34}{:<8}{:>14.2}{:>10.2}{:>8.1}x",
                trigger,
                operation,
                added[0],
                added[1],
                added[0] / added[1]
            );
        }
    }
}

/// Median CPU nanoseconds of each statement.
fn costs(measured: &mut Measured, trigger: Option<&str>) -> [f64; 3] {
    let mut samples: [Vec<f64>; 3] = Default::default();
    measured
        .client
        .batch_execute(
            "drop table if exists captured;
             create table captured (id int primary key, name text, amount numeric, changed \
             timestamptz, active bool,
                                    note text, counter bigint, empty text)",
        )
        .unwrap();
    if let Some(trigger) = trigger {
        let sql = format!(
            "create trigger capture after insert or update or delete on captured
             for each row execute function pgq.{}",
            trigger
        );
        measured.client.batch_execute(&sql).unwrap();
    }
    for round in 0..=ROUNDS {
        for (i, (_, statement)) in STATEMENTS.iter().enumerate() {
            let statement = statement.replace("$ROWS", &ROWS.to_string());
            let cost = measured.cost(|client| client.batch_execute(&statement).unwrap());
            if round > 0 {
                samples[i].push(cost);
            }
        }
        measured.client.batch_execute("truncate captured; truncate pgq.event_template").unwrap();
    }
    samples.map(|sample| median(&sample))
}
