//! A set of nodes, each in a database of its own, their workers and their administrator.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgq_tests::{Random, Scratch, scratch_database, wait_until};
use postgres::Client;

use crate::query::{outcome, row, rows, run};

/// Where a worker dies in a round. Its transactions are rolled back and its connections are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    AfterNextBatch,
    BeforeCommit,
    AfterCommit,
    AfterTick,
    Never,
}

impl Death {
    pub(super) fn any(random: &mut Random) -> Self {
        match random.below(12) {
            0 => Self::AfterNextBatch,
            1 => Self::BeforeCommit,
            2 => Self::AfterCommit,
            3 => Self::AfterTick,
            _ => Self::Never,
        }
    }
}

/// The nodes of queue `q`, by name. A node's worker is called `NODE_worker`.
pub(super) struct Set {
    sites: BTreeMap<&'static str, Scratch>,
}

impl Set {
    /// Databases that know of each other; no nodes yet.
    pub(super) fn new(names: &[&'static str]) -> Self {
        let sites: BTreeMap<_, _> = names.iter().map(|name| (*name, scratch_database())).collect();
        let set = Self { sites };
        for name in names {
            let mut client = set.connect(name);
            run(&mut client, "create extension pgq_node; create table applied (data text)");
            for other in names {
                run(
                    &mut client,
                    &format!(
                        "select pgq_node.register_location('q', '{other}', 'dbname={other}', false)"
                    ),
                );
            }
        }
        set
    }

    pub(super) fn connect(&self, name: &str) -> Client {
        self.sites[name].connect()
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
        Worker { set: self, name, here: None, there: None }
    }

    /// A value of `get_node_info` of a node.
    pub(super) fn info(&self, name: &str, column: &str) -> String {
        row(&mut self.connect(name), &format!("select {column} from pgq_node.get_node_info('q')"))
    }

    /// Insert `data` events at whichever node is the root until the flag is set, as fast as node `pace` applies them; what was
    /// committed, in order. Ticks too, and now and then publishes the watermark.
    pub(super) fn produce_until(&self, stop: &AtomicBool, pace: &str) -> Vec<String> {
        let mut clients: Vec<_> = self.sites.values().map(Scratch::connect).collect();
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
            self.sites.keys().filter(|name| **name != root).map(|name| self.worker(name)).collect();
        let caught_up = wait_until(Duration::from_secs(60), || {
            for worker in &mut workers {
                while worker.work(Death::Never) {}
            }
            workers.iter().all(|worker| self.info(worker.name, "worker_last_tick") == top)
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
            .keys()
            .flat_map(|name| {
                rows(&mut self.connect(name), health)
                    .into_iter()
                    .map(move |problem| format!("{name}: {problem}"))
            })
            .collect()
    }
}

/// The worker of a node. It keeps its connections until it dies.
pub(super) struct Worker<'a> {
    set: &'a Set,
    name: &'static str,
    here: Option<Client>,
    there: Option<(String, Client)>,
}

impl Worker<'_> {
    /// One round of a node's worker, as the cascade protocol has it. False when there was nothing to do.
    pub(super) fn work(&mut self, death: Death) -> bool {
        let done = self.round(death);
        if done.is_none() {
            (self.here, self.there) = (None, None);
        }
        done != Some(false)
    }

    /// True when a batch was finished, false when there was none, nothing when the worker died.
    fn round(&mut self, death: Death) -> Option<bool> {
        let Self { set, name, here, there } = self;
        let here = here.get_or_insert_with(|| {
            let mut client = set.connect(name);
            run(&mut client, "set session_replication_role = replica");
            client
        });
        let state = here.query_one("select * from pgq_node.get_worker_state('q')", &[]).unwrap();
        let worker: String = state.get("worker_name");
        if !state.get::<_, bool>("uptodate") {
            here.execute("select pgq_node.set_consumer_uptodate('q', $1, true)", &[&worker])
                .unwrap();
        }
        let kind: String = state.get("node_type");
        if state.get("paused") || kind == "root" {
            return Some(false);
        }

        let provider: String = state.get("provider_node");
        if there.as_ref().is_none_or(|(name, _)| *name != provider) {
            *there = Some((provider.clone(), set.connect(&provider)));
        }
        let there = &mut there.as_mut()?.1;
        let batch =
            there.query_one("select * from pgq.next_batch_info('q', $1)", &[&worker]).unwrap();
        let Some(id) = batch.get::<_, Option<i64>>("batch_id") else {
            publish_watermark(name, here, there);
            return Some(false);
        };
        if death == Death::AfterNextBatch {
            return None;
        }
        let (from, to): (i64, i64) = (batch.get("prev_tick_id"), batch.get("cur_tick_id"));
        let completed: i64 = state.get("completed_tick");
        let mut last_event: i64 = batch.get("cur_tick_event_seq");
        if from == completed {
            let mut effects = here.transaction().unwrap();
            if kind == "branch" {
                copy_events(there, &mut effects, id);
            }
            for event in there.query("select * from pgq.get_batch_events($1)", &[&id]).unwrap() {
                last_event = last_event.max(event.get("ev_id"));
                let data: String = event.get("ev_data");
                let sql = match event.get("ev_type") {
                    "pgq.global-watermark" => {
                        "select pgq_node.set_global_watermark('q', $1::text::bigint)"
                    }
                    "data" => "insert into applied values ($1)",
                    other => panic!("event of type {other}"),
                };
                effects.execute(sql, &[&data]).unwrap();
            }
            let set = effects.query_one(
                "select ret_code from pgq_node.set_consumer_completed('q', $1, $2)",
                &[&worker, &to],
            );
            match set {
                Ok(row) => assert_eq!(row.get::<_, i32>(0), 100),
                // Promoted in the middle of the batch; everything rolls back.
                Err(error) if error.code().is_some_and(|code| code.code() == "55000") => {
                    return None;
                }
                Err(error) => panic!("set_consumer_completed: {error:?}"),
            }
            if death == Death::BeforeCommit {
                return None;
            }
            effects.commit().unwrap();
            if death == Death::AfterCommit {
                return None;
            }
        } else {
            assert_eq!(
                to, completed,
                "{name} lost its position: it has {completed}, the batch is {from}..{to}"
            );
        }

        if kind == "branch" && !lay_tick(here, to, batch.get("cur_tick_time"), last_event) {
            return None;
        }
        if death == Death::AfterTick {
            return None;
        }
        publish_watermark(name, here, there);
        there.execute("select pgq.finish_batch($1)", &[&id]).unwrap();
        Some(true)
    }

    /// Work until the flag is set, with deaths.
    pub(super) fn work_until(&mut self, stop: &AtomicBool, random: &mut Random) {
        while !stop.load(Ordering::Relaxed) {
            if !self.work(Death::any(random)) {
                std::thread::yield_now();
            }
        }
    }
}

/// Copy the events of a batch into the queue of a branch, with their ids.
fn copy_events(there: &mut Client, effects: &mut postgres::Transaction<'_>, batch: i64) {
    const COLUMNS: &str =
        "ev_id, ev_time, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4";
    let mut copied = Vec::new();
    there
        .copy_out(&format!("copy (select {COLUMNS} from pgq.get_batch_events({batch})) to stdout"))
        .unwrap()
        .read_to_end(&mut copied)
        .unwrap();
    let table: String =
        effects.query_one("select pgq.current_event_table('q')", &[]).unwrap().get(0);
    let mut sink = effects.copy_in(&format!("copy {table} ({COLUMNS}) from stdin")).unwrap();
    sink.write_all(&copied).unwrap();
    sink.finish().unwrap();
}

/// Lay the tick of an applied batch in a branch's queue, if it is not there. False when the node is no branch any more.
fn lay_tick(here: &mut Client, tick: i64, time: std::time::SystemTime, last_event: i64) -> bool {
    let top: i64 = here
        .query_one("select local_queue_top from pgq_node.get_worker_state('q')", &[])
        .unwrap()
        .get(0);
    if top >= tick {
        return true;
    }
    match here.execute("select pgq.ticker('q', $1, $2, $3)", &[&tick, &time, &last_event]) {
        Ok(_) => true,
        Err(error) => {
            // A promotion in between has laid it.
            let kind = row(here, "select node_type from pgq_node.get_node_info('q')");
            assert_eq!(kind, "root", "ticker: {error:?}");
            false
        }
    }
}

/// Tell the provider what the node's subtree still needs.
fn publish_watermark(name: &str, here: &mut Client, there: &mut Client) {
    let watermark: i64 = here
        .query_one("select local_watermark from pgq_node.get_node_info('q')", &[])
        .unwrap()
        .get(0);
    let answer = there
        .query_one(
            "select ret_code, ret_note from pgq_node.set_subscriber_watermark('q', $1, $2)",
            &[&name, &watermark],
        )
        .unwrap();
    let (code, note): (i32, String) = (answer.get(0), answer.get(1));
    // 404: the administrator has moved the node to another provider.
    assert!([100, 200, 404].contains(&code), "{note}");
}
