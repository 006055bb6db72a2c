//! Last part: how long an event takes from before its INSERT into the hands of a consumer that
//! waits.

use std::time::Duration;

use pgq_tests::Cluster;

const EVENTS: usize = 200;

pub(crate) fn run(cluster: &Cluster) {
    let mut producer = cluster.connect("postgres");
    let mut consumer = cluster.connect("postgres");
    producer
        .batch_execute(
            "select pgq.create_queue('live'); select pgq.register_consumer('live', 'viewer')",
        )
        .unwrap();
    let reader = std::thread::spawn(move || {
        let mut times: Vec<f64> = Vec::new();
        while times.len() < EVENTS {
            let batch: Option<i64> = consumer
                .query_one("call pgq.wait_batch('live', 'viewer', '10 s')", &[])
                .unwrap()
                .get(0);
            let Some(batch) = batch else { break };
            // The event carries the time it was made; the clock is the server's at both ends.
            let sql =
                "select extract(epoch from clock_timestamp() - ev_data::timestamptz)::float8 * 1000
                         from pgq.get_batch_events($1)";
            times.extend(
                consumer.query(sql, &[&batch]).unwrap().iter().map(|row| row.get::<_, f64>(0)),
            );
            consumer.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        }
        times
    });
    for _ in 0..EVENTS {
        producer
            .execute("select pgq.insert_event('live', 'stamp', clock_timestamp()::text)", &[])
            .unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut times = reader.join().unwrap();
    assert_eq!(times.len(), EVENTS, "events are missing");
    times.sort_by(f64::total_cmp);
    println!(
        "\nLatency of {EVENTS} single events, insert to consumer in wait_batch, synchronous_commit on: median {:.1} ms, p99 {:.1} ms",
        times[EVENTS / 2],
        times[EVENTS * 99 / 100]
    );
}
