//! A set of nodes, each in a database of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgq_tests::{PATIENCE, Scratch, wait_until};
use postgres::Client;

use crate::companions::cascade::sites::Sites;
use crate::companions::cascade::worker::{Death, Worker};
use pgq_tests::query::{outcome, row, rows, run};

/// The nodes of queue `q`, by name. A node's worker is called `NODE_worker`.
pub(super) struct Set {
    sites: Sites,
}

impl Set {
    /// Databases that know of each other; no nodes yet.
    pub(super) fn new(names: &[&'static str]) -> Self {
        Self { sites: Sites::new(names) }
    }

    pub(super) fn connect(&self, name: &str) -> Client {
        self.sites.connect(name)
    }

    /// Make a node; every node but the root is subscribed to its provider first.
    pub(super) fn create(&self, name: &str, kind: &str, provider: Option<&str>) {
        let mut here = self.connect(name);
        let (provider, watermark) = match provider {
            None => ("null".to_owned(), "null".to_owned()),
            Some(provider) => {
                let call = format!(
                    "select global_watermark from pgq_node.register_subscriber('q', '{name}', '{name}_worker', null)"
                );
                (format!("'{provider}'"), row(&mut self.connect(provider), &call))
            }
        };
        let call = format!(
            "select ret_code from pgq_node.create_node('q', '{kind}', '{name}', '{name}_worker', {provider}, {watermark}, null)"
        );
        assert_eq!(row(&mut here, &call), "200");
        if kind != "leaf" {
            run(
                &mut here,
                "update pgq.queue set queue_ticker_max_count = 1, queue_ticker_max_lag = '0';
                 select pgq.register_consumer_at('q', 'probe', 1)",
            );
        }
    }

    /// The worker of a node.
    pub(super) fn worker(&self, name: &'static str) -> Worker<'_> {
        Worker::new(&self.sites, name)
    }

    /// A value of `get_node_info` of a node.
    pub(super) fn info(&self, name: &str, column: &str) -> String {
        row(&mut self.connect(name), &format!("select {column} from pgq_node.get_node_info('q')"))
    }

    /// Insert `data` events at whichever node is the root until the flag is set, as fast as node
    /// `pace` applies them; what was committed, in order. Ticks too, and now and then publishes the
    /// watermark.
    pub(super) fn produce_until(&self, stop: &AtomicBool, pace: &str) -> Vec<String> {
        let mut clients: Vec<_> = self.sites.all().map(Scratch::connect).collect();
        let mut applied = self.connect(pace);
        let mut produced = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            for client in &mut clients {
                let data = format!("event {}", produced.len());
                if client.execute("select pgq.insert_event('q', 'data', $1)", &[&data]).is_ok() {
                    produced.push(data);
                    let _ = outcome(client, "select pgq.ticker('q')");
                    if produced.len() % 20 == 0 {
                        let _ = outcome(client, "select pgq_node.set_global_watermark('q', null)");
                    }
                }
            }
            wait_until(Duration::from_millis(300), || {
                let applied =
                    row(&mut applied, "select count(*) from applied").parse::<usize>().unwrap();
                stop.load(Ordering::Relaxed) || applied + 10 > produced.len()
            });
        }
        produced
    }

    /// Stop keeping everything for `assert_same_queues`.
    pub(super) fn forget_probes(&self, names: &[&str]) {
        for name in names {
            run(&mut self.connect(name), "select pgq.unregister_consumer('q', 'probe')");
        }
    }

    /// Let all workers catch up with the root, which gets no more events.
    pub(super) fn drain(&self, root: &str) {
        let mut client = self.connect(root);
        run(
            &mut client,
            "update pgq.queue set queue_ticker_idle_period = '0'; select pgq.ticker('q')",
        );
        let top = self.info(root, "worker_last_tick");
        let mut workers: Vec<_> =
            self.sites.names().filter(|name| *name != root).map(|name| self.worker(name)).collect();
        let caught_up = wait_until(PATIENCE, || {
            for worker in &mut workers {
                while worker.work(Death::Never) {}
            }
            workers.iter().all(|worker| self.info(worker.name(), "worker_last_tick") == top)
        });
        assert!(caught_up, "a node does not catch up");
        // Once more, so that everybody tells its provider.
        for worker in &mut workers {
            worker.work(Death::Never);
        }
    }

    /// Two nodes with a queue have the same ticks, and between them the same events.
    pub(super) fn assert_same_queues(&self, one: &str, other: &str, produced: &[String]) {
        let walk = |name: &str| {
            let mut client = self.connect(name);
            let mut batches = Vec::new();
            loop {
                let batch = row(
                    &mut client,
                    "select batch_id, cur_tick_id from pgq.next_batch_info('q', 'probe')",
                );
                let (id, tick) = batch.split_once('|').unwrap();
                if id == "∅" {
                    return batches;
                }
                let events = rows(
                    &mut client,
                    &format!(
                        "select ev_id, ev_type, ev_data from pgq.get_batch_events({id}) order by ev_id"
                    ),
                );
                batches.push((tick.to_owned(), events));
                run(&mut client, &format!("select pgq.finish_batch({id})"));
            }
        };
        let (here, there) = (walk(one), walk(other));
        for (a, b) in here.iter().zip(&there) {
            assert_eq!(a, b, "{one} and {other} differ");
        }
        assert_eq!(here.len(), there.len());
        let mut seen: Vec<_> = here
            .iter()
            .flat_map(|(_, events)| events)
            .filter_map(|event| event.split_once("|data|"))
            .map(|(_, data)| data.to_owned())
            .collect();
        seen.sort();
        let mut wanted = produced.to_vec();
        wanted.sort();
        assert_eq!(seen, wanted);
    }

    /// A node has applied each event exactly once.
    pub(super) fn assert_applied(&self, name: &str, produced: &[String]) {
        let mut wanted = produced.to_vec();
        wanted.sort();
        assert_eq!(
            rows(&mut self.connect(name), "select data from applied order by data collate \"C\""),
            wanted
        );
    }

    /// Problems that nodes see, as `NODE: PROBLEM`.
    pub(super) fn problems(&self) -> Vec<String> {
        let health = "select problem from pgq_node.node_health() where severity <> 'ok'";
        self.sites
            .names()
            .flat_map(|name| {
                rows(&mut self.connect(name), health)
                    .into_iter()
                    .map(move |problem| format!("{name}: {problem}"))
            })
            .collect()
    }
}
