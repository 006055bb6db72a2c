//! What capture costs the root.

use pgq_tests::Cluster;

use crate::Scope;
use crate::pair::{Contender, Pair, Rows, finish};
use crate::processes::server_cpu;
use crate::sheet::{Sheet, Target};

/// Transactions of a slice. Slices of all contenders are run in turn.
const SLICE: u32 = 1000;
const SLICES: u32 = 7;

pub(crate) fn run(scope: &Scope) {
    let transactions = scope.count(SLICE).to_string();
    let mut sheet = Sheet::new(format!(
        "What the root's server costs more than one without replication; TPC-B by one client, \
         median of {SLICES} slices of {transactions} transactions; nothing reads it"
    ));
    for _ in 0..scope.rounds {
        // Native's with a publication and no subscription; a plain server beside.
        let plain = Pair::start(Contender::Native, 1, Rows::OnRoot);
        pgq_tests::query::run(&mut plain.at_root(), "drop publication bench");
        let mut pairs = Vec::new();
        for contender in scope.contenders.iter().copied() {
            let mut pair = Pair::start(contender, 1, Rows::OnRoot);
            if contender != Contender::Native {
                pair.stop();
            }
            pairs.push((contender, pair));
        }
        for _ in 0..SLICES {
            let base = slice(&plain, &transactions);
            for (contender, pair) in &pairs {
                let more = slice(pair, &transactions) - base;
                sheet.note("CPU us a row added", Target::AtMost(25.0), *contender, more);
            }
        }
    }
    sheet.print(scope);
}

/// CPU microseconds a row.
fn slice(pair: &Pair, transactions: &str) -> f64 {
    let cpu = |server: &Cluster| server_cpu(server) / 1e3;
    let before = cpu(&pair.root);
    finish(pair.pgbench(&["-c", "1", "-M", "prepared", "-t", transactions]).spawn().unwrap());
    (cpu(&pair.root) - before) / (4.0 * transactions.parse::<f64>().unwrap())
}
