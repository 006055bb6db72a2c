//! A consumer: a thread that waits for batches and adds up what it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use pgq_tests::Cluster;
use postgres::{Client, NoTls};

/// What a consumer has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) events: i64,
    pub(crate) checksum: i64,
    pub(crate) batches: i64,
}

pub(crate) struct Consumer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Sum>,
}

impl Consumer {
    /// Register on the queue and start reading.
    pub(crate) fn start(cluster: &Cluster, queue: &'static str, name: &'static str) -> Self {
        let mut client = cluster.connect("postgres");
        client.execute("select pgq.register_consumer($1, $2)", &[&queue, &name]).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (conninfo, stopped) = (cluster.conninfo("postgres"), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(&conninfo, NoTls).unwrap();
            let mut sum = Sum::default();
            loop {
                // Asked before looking, so that what was committed before the request is read.
                let is_last = stopped.load(Ordering::Relaxed);
                let wait = format!("call pgq.wait_batch('{queue}', '{name}', '500 ms')");
                let batch: Option<i64> = client.query_one(wait.as_str(), &[]).unwrap().get(0);
                match batch {
                    Some(batch) => read(&mut client, batch, &mut sum),
                    None if is_last => return sum,
                    None => {}
                }
            }
        });
        Self { stop, thread }
    }

    /// Let it read what there is, and take its sum.
    pub(crate) fn finish(self) -> Sum {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Sums of what was committed and read are of the same expression, `hashtext(ev_data)`.
fn read(client: &mut Client, batch: i64, sum: &mut Sum) {
    let sql = "select count(*), coalesce(sum(hashtext(ev_data)), 0)::bigint from pgq.get_batch_events($1)";
    let row = client.query_one(sql, &[&batch]).unwrap();
    sum.events += row.get::<_, i64>(0);
    sum.checksum += row.get::<_, i64>(1);
    sum.batches += 1;
    client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
}
