//! What a leaf does that could not apply anything for a while. Nobody is started anew for it: how
//! long that takes is another matter.

use std::fs;
use std::path::Path;
use std::time::Instant;

use pgq_tests::query::run as execute;

use crate::Scope;
use crate::pair::{Contender, Pair, Rows, finish};
use crate::sheet::{Sheet, Target};
use crate::tables::TABLES;

/// Four rows a transaction, none of them likely to come twice: what TPC-B does, without its ten
/// branches and hundred tellers.
const COLD: &str = "\
\\set a random(1, 100000 * :scale)
\\set b random(1, 100000 * :scale)
\\set c random(1, 100000 * :scale)
begin;
update pgbench_accounts set abalance = abalance + 1 where aid = :a;
update pgbench_accounts set abalance = abalance + 2 where aid = :b;
update pgbench_accounts set abalance = abalance + 3 where aid = :c;
insert into pgbench_history (tid, bid, aid, delta, mtime) values (1, 1, :a, 1, now());
end;
";

pub(crate) fn run(scope: &Scope) {
    let transactions = scope.count(5000);
    let changes = 4 * 4 * transactions;
    let mut hot = Sheet::new(format!(
        "Drain of {changes} changes of TPC-B that were made while the leaf's tables were locked"
    ));
    let mut cold = Sheet::new(format!("The same, of {changes} changes of rows that are not hot"));
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("cold.sql");
    fs::write(&script, COLD).unwrap();
    for _ in 0..scope.rounds {
        for contender in scope.contenders.iter().copied() {
            let mut pair = Pair::start(contender, scope.count(10), Rows::OnBoth);
            pair.attach();
            pair.await_sync();
            drain(&pair, 1, transactions, None, |what, figure| {
                note(&mut hot, 1.0, contender, what, figure);
            });
            drain(&pair, 2, transactions, Some(&script), |what, figure| {
                note(&mut cold, 0.8, contender, what, figure);
            });
        }
    }
    hot.print(scope);
    cold.print(scope);
}

const RATE: &str = "rows a second";
const LEAF: &str = "CPU us a row at the leaf, worker included";
const ROOT: &str = "CPU us a row at the root";

fn note(sheet: &mut Sheet, least: f64, contender: Contender, what: &str, figure: f64) {
    let target = match what {
        RATE => Target::LeastTimesNative(least),
        LEAF => Target::TimesNative(1.0),
        _ => Target::None,
    };
    sheet.note(what, target, contender, figure);
}

fn drain(
    pair: &Pair,
    mark: u32,
    transactions: u32,
    script: Option<&Path>,
    mut note: impl FnMut(&str, f64),
) {
    pair.mark(10 * mark);
    pair.await_mark(10 * mark);
    let mut leaf = pair.at_leaf();
    let tables = TABLES.join(", ");
    execute(&mut leaf, &format!("begin; lock table {tables} in exclusive mode"));
    let count = transactions.to_string();
    let mut load = pair.pgbench(&["-c", "4", "-t", &count]);
    if let Some(script) = script {
        load.arg("-f").arg(script);
    }
    finish(load.spawn().unwrap());
    pair.mark(10 * mark + 1);
    let (before, clock) = (pair.costs(), Instant::now());
    execute(&mut leaf, "commit");
    pair.await_mark(10 * mark + 1);
    let (took, after) = (clock.elapsed().as_secs_f64(), pair.costs());
    let rows = f64::from(4 * 4 * transactions);
    note(RATE, rows / took);
    note(LEAF, (after.leaf - before.leaf) / 1e3 / rows);
    note(ROOT, (after.root - before.root) / 1e3 / rows);
}
