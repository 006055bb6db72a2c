//! Reading batches.

use postgres::Client;

use crate::measure::{Measured, Series, median};
use crate::servers::Servers;

const ROUNDS: usize = 7;

/// CPU of `get_batch_events`, the rows counted in the server.
pub(crate) fn run(servers: &Servers) {
    println!(
        "get_batch_events, rows counted in the server: backend CPU per event, median of {ROUNDS} \
         rounds"
    );
    println!("  {:<12}{:>14}{:>10}{:>12}", "batch", "upstream us", "ours us", "ratio");
    for (events, repeats) in [(500, 40), (10_000, 4), (100_000, 1)] {
        let (ours, peer) = servers.connect();
        let mut both = [Measured::new(peer), Measured::new(ours)];
        let queue = format!("consume_{events}");
        let batches =
            both.each_mut().map(|measured| open_batch(&mut measured.client, &queue, events));
        let statements = both.each_mut().map(|measured| {
            measured.client.prepare("select count(*) from pgq.get_batch_events($1)").unwrap()
        });
        let mut series = [Series::new("upstream"), Series::new("ours")];
        for round in 0..=ROUNDS {
            for i in 0..2 {
                let cost = both[i].cost(|client| {
                    for _ in 0..repeats {
                        let row = client.query_one(&statements[i], &[&batches[i]]);
                        assert_eq!(row.unwrap().get::<_, i64>(0), events);
                    }
                });
                if round > 0 {
                    series[i].costs.push(cost / (events * repeats) as f64);
                }
            }
        }
        println!(
            "  {:<12}{:>14.3}{:>10.3}{:>11.2}x",
            events,
            median(&series[0].costs) / 1000.0,
            median(&series[1].costs) / 1000.0,
            series[1].times_cheaper_than(&series[0])
        );
    }
}

/// A queue whose consumer has one open batch of so many events.
fn open_batch(client: &mut Client, queue: &str, events: i64) -> i64 {
    let setup = format!(
        "select pgq.create_queue('{queue}');
         select pgq.register_consumer('{queue}', 'reader');
         update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0' where \
         queue_name = '{queue}';"
    );
    client.batch_execute(&setup).unwrap();
    // One batch on both sides, whatever its size: lift our cap.
    let _ = client.batch_execute(&format!(
        "do $$ begin if pgq.version() >= '4' then
             perform pgq.set_queue_config('{queue}', 'batch_max_count', '1000000'); end if; end $$"
    ));
    client
        .batch_execute(&format!(
            "select count(pgq.insert_event('{queue}', 'type', \
             repeat('id=1&name=some+text&value=', 3) || 'x'))
               from generate_series(1, {events})"
        ))
        .unwrap();
    client.batch_execute(&format!("select pgq.ticker('{queue}')")).unwrap();
    client.batch_execute("vacuum analyze").unwrap();
    client.query_one("select pgq.next_batch($1, 'reader')", &[&queue]).unwrap().get(0)
}
