//! Ticking queues in which nothing happens.

use crate::measure::{Measured, Series, median};
use crate::servers::Servers;

const QUEUES: i32 = 1000;
const ROUNDS: usize = 5;

/// CPU of one `pgq.ticker()` over idle queues.
pub(crate) fn run(servers: &Servers) {
    let (ours, peer) = servers.connect();
    let mut both = [Measured::new(peer), Measured::new(ours)];
    for measured in &mut both {
        let setup = format!(
            "select count(pgq.create_queue('idle_' || n)) from generate_series(1, {QUEUES}) n;
             select pgq.ticker();
             update pgq.queue set queue_ticker_max_lag = '1 day', queue_ticker_idle_period = '1 \
             day';"
        );
        for statement in setup.split_inclusive(';') {
            measured.client.batch_execute(statement).unwrap();
        }
        measured.client.batch_execute("vacuum analyze").unwrap();
    }
    let mut series = [Series::new("upstream"), Series::new("ours")];
    for round in 0..=ROUNDS {
        for i in 0..2 {
            let cost = both[i].cost(|client| {
                for _ in 0..5 {
                    client.batch_execute("select pgq.ticker()").unwrap();
                }
            });
            if round > 0 {
                series[i].costs.push(cost / 5.0);
            }
        }
    }
    println!("Idle ticker(), {QUEUES} queues: backend CPU per call, median of {ROUNDS} rounds");
    println!(
        "  upstream {:.2} ms, ours {:.2} ms: {:.1}x",
        median(&series[0].costs) / 1e6,
        median(&series[1].costs) / 1e6,
        series[1].times_cheaper_than(&series[0])
    );
}
