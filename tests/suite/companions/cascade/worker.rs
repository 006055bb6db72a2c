//! A node's worker, played as the cascade protocol has it, with deaths.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use pgq_tests::Random;
use postgres::Client;

use crate::companions::cascade::sites::Sites;
use pgq_tests::query::{row, run};

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

/// The worker of a node. It keeps its connections until it dies.
pub(super) struct Worker<'a> {
    sites: &'a Sites,
    name: &'static str,
    here: Option<Client>,
    there: Option<(String, Client)>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(sites: &'a Sites, name: &'static str) -> Self {
        Self { sites, name, here: None, there: None }
    }

    /// The node's name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// One round of a node's worker, as the cascade protocol has it. False when there was nothing
    /// to do.
    pub(super) fn work(&mut self, death: Death) -> bool {
        let done = self.round(death);
        if done.is_none() {
            (self.here, self.there) = (None, None);
        }
        done != Some(false)
    }

    /// True when a batch was finished, false when there was none, nothing when the worker died.
    fn round(&mut self, death: Death) -> Option<bool> {
        let Self { sites, name, here, there } = self;
        let here = here.get_or_insert_with(|| {
            let mut client = sites.connect(name);
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
            *there = Some((provider.clone(), sites.connect(&provider)));
        }
        let there = &mut there.as_mut()?.1;
        let batch = there.query_one("select * from pgq.next_batch_info('q', $1)", &[&worker]);
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) if is_moved(&error) => return None,
            Err(error) => panic!("next_batch_info: {error:?}"),
        };
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
            if kind == "branch" && !copy_events(there, &mut effects, id) {
                return None;
            }
            let events = there.query("select * from pgq.get_batch_events($1)", &[&id]);
            let events = match events {
                Ok(events) => events,
                Err(error) if is_moved(&error) => return None,
                Err(error) => panic!("get_batch_events: {error:?}"),
            };
            for event in events {
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

/// True when the provider does not know the node or its batch: the administrator has given it
/// another place since its state was read.
fn is_moved(error: &postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code() == "42704")
}

/// Copy the events of a batch into the queue of a branch, with their ids. False when the node was
/// moved.
fn copy_events(there: &mut Client, effects: &mut postgres::Transaction<'_>, batch: i64) -> bool {
    const COLUMNS: &str =
        "ev_id, ev_time, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4";
    let mut copied = Vec::new();
    let copy = format!("copy (select {COLUMNS} from pgq.get_batch_events({batch})) to stdout");
    // The function runs when its rows are fetched.
    if let Err(error) = there.copy_out(&copy).unwrap().read_to_end(&mut copied) {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        assert!(cause.is_some_and(is_moved), "copy events: {error:?}");
        return false;
    }
    let table: String =
        effects.query_one("select pgq.current_event_table('q')", &[]).unwrap().get(0);
    let mut sink = effects.copy_in(&format!("copy {table} ({COLUMNS}) from stdin")).unwrap();
    sink.write_all(&copied).unwrap();
    sink.finish().unwrap();
    true
}

/// Lay the tick of an applied batch in a branch's queue, if it is not there. False when the node is
/// no branch any more.
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
