//! A node's worker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use pgq_replica::cascade::node::{Kind, Node};
use pgq_replica::cascade::replay::{Replay, Role};
use pgq_replica::cascade::round::{Batch, Hand, Looked, Step, decide};
use pgq_replica::cascade::tables::{Order, State, Table, orders};
use pgq_replica::cascade::{calls, tables};
use postgres::types::Type;

use super::claim::Right;
use super::copies::CascadeCopies;
use super::link::Link;
use super::local::{lay_tick, note_error};
use super::settings::CascadeSettings;
use super::{batch, foreign_keys};
use crate::error::Error;
use crate::failpoint;
use crate::outage::Outage;
use crate::session::Session;
use crate::statements::Statements;
use crate::stop::Stop;

/// Between looks for a copier that the worker waits for.
const HOLD: Duration = Duration::from_millis(50);
/// Between two looks for what is besides the round: copies to begin, foreign keys to restore.
const BESIDES: Duration = Duration::from_secs(1);
/// Between attempts at what somebody stands in the way of: to begin a copy whose tables are in use,
/// or to restore foreign keys.
const AGAIN: Duration = Duration::from_secs(10);
/// Between two times that a root's worker sees to sequences and watermark.
const TEND: Duration = Duration::from_secs(10);

/// Tick, watermark and the end of a batch that is applied are done before a stop.
const STEPS_TO_FINISH: u8 = 4;

/// The worker of one node, which replays what its provider has and copies new tables.
pub struct CascadeWorker {
    settings: CascadeSettings,
    stop: Stop,
    local: Session,
    right: Right,
    link: Option<Link>,
    /// The name of the node's worker, once it was read.
    name: Option<String>,
    /// The node, unless it has to be read anew.
    node: Option<Node>,
    replay: Replay,
    copies: CascadeCopies,
    looked_besides: Option<Instant>,
    tended: Option<Instant>,
    /// A batch is applied and not finished: a stop waits for that.
    unfinished: bool,
    /// Tables whose copy waits for something, which was said.
    waiting: BTreeSet<String>,
    /// Tables whose copy could not begin because somebody used them, and when to try again.
    busy: BTreeMap<String, Instant>,
    /// A foreign key could not be restored: when to try again.
    restore_again: Option<Instant>,
}

impl CascadeWorker {
    /// A worker, which connects when it is run.
    pub fn new(settings: CascadeSettings, stop: Stop) -> Self {
        let local = Session::to_queue(settings.local.clone().application_name(&settings.job));
        let mut replay = Replay::new(&settings.queue);
        replay.register_tables = settings.register_tables.clone();
        replay.register_sequences = settings.register_sequences.clone();
        Self {
            settings,
            stop,
            local,
            right: Right::default(),
            link: None,
            name: None,
            node: None,
            replay,
            copies: CascadeCopies::default(),
            looked_besides: None,
            tended: None,
            unfinished: false,
            waiting: BTreeSet::new(),
            busy: BTreeMap::new(),
            restore_again: None,
        }
    }

    /// Go on with these copies, which do not end with the worker.
    pub fn with_copies(mut self, copies: &CascadeCopies) -> Self {
        self.copies = copies.clone();
        self.copies.belong_to(&self.settings);
        if let Some((local, right)) = self.copies.take_right() {
            (self.local, self.right) = (local, right);
        }
        self
    }

    /// Work until stopped. Whatever fails is said, in the node's database as well, and tried again.
    pub fn run(mut self) {
        let mut outage = Outage::new(self.settings.job.clone());
        let mut steps_left = STEPS_TO_FINISH;
        loop {
            if self.stop.is_requested() {
                if self.stop.is_now() || !self.unfinished || steps_left == 0 {
                    break;
                }
                steps_left -= 1;
            }
            let link = self.link.as_ref().and_then(|link| link.session.cancel());
            let cancels = [self.local.cancel(), link].into_iter().flatten();
            let stop = self.stop.clone();
            match stop.cancellable_now(cancels, || self.step()) {
                Some(Ok(works)) => {
                    if works {
                        outage.over();
                    }
                }
                None => break,
                Some(Err(_)) if self.stop.is_requested() => break,
                Some(Err(error)) => {
                    self.failed(&error);
                    self.stop.sleep(outage.pause(&error));
                }
            }
        }
        if self.stop.is_now() {
            // The right goes after them, with the session.
            self.copies.stop();
        } else {
            // Until the last copy has ended, or another worker goes on with them.
            self.copies.leave(self.local, self.right);
        }
    }

    /// One step of a round. True when it shows that all is in order.
    fn step(&mut self) -> Result<bool, Error> {
        let (queue, stop) = (self.settings.queue.clone(), self.stop.clone());
        if !self.right.hold(&self.settings, &mut self.local)? {
            self.copies.stop();
            // The other worker goes on from there.
            (self.node, self.link, self.unfinished) = (None, None, false);
            stop.sleep(self.settings.loop_delay);
            return Ok(true);
        }
        let node = match self.node.take() {
            Some(node) => node,
            None => Node::read(&mut Statements(self.local.get()?.0), &queue)?,
        };
        self.name = Some(node.worker.clone());
        if let Some(combined) = &node.combined {
            return Err(Error::Cascade(format!(
                "node \"{}\" is merged into queue \"{combined}\", which this worker does not do",
                node.name
            )));
        }
        let link = self.link.as_ref();
        let hand = Hand {
            connected: link.map(|link| (link.name.as_str(), link.location.as_str())),
            looked: link.map_or(Looked::NotYet, |link| link.looked),
            told: link.and_then(|link| link.told).map(|(watermark, _)| watermark),
            told_lately: link.is_some_and(Link::told_lately),
        };
        match (decide(&node, &hand)?, &mut self.link) {
            (Step::Acknowledge, _) => {
                let client = self.local.get()?.0;
                calls::acknowledge(&mut Statements(client), &queue, &node.worker)?;
                log::debug!("{}: the node has changed", self.settings.job);
            }
            (Step::Pause, _) => {
                stop.sleep(self.settings.loop_delay);
                return Ok(true);
            }
            (Step::TendRoot, _) => {
                self.link = None;
                self.tend_root(&queue)?;
                stop.sleep(self.settings.loop_delay);
                return Ok(true);
            }
            (Step::Connect, _) | (_, None) => {
                self.link = Some(Link::connect(&self.settings, &node, &node.worker)?);
                log::info!("{}: reads from node \"{}\"", self.settings.job, node.provider);
                self.node = Some(node);
            }
            (Step::Look, Some(link)) => {
                link.look()?;
                self.node = Some(node);
            }
            (Step::Wait, Some(link)) => {
                if self.looked_besides.is_none_or(|then| then.elapsed() >= BESIDES) {
                    self.look_besides(&node)?;
                } else {
                    link.wait(&stop, self.settings.loop_delay)?;
                }
                return Ok(true);
            }
            (Step::Apply(batch), Some(_)) => {
                failpoint::visit(failpoint::Step::BatchOpened);
                self.apply(&node, batch)?;
            }
            (Step::LayTick(tick), Some(link)) => {
                lay_tick(link.session.get()?.0, self.local.get()?.0, &queue, tick)?;
                failpoint::visit(failpoint::Step::TickLaid);
            }
            (Step::Tell(watermark), Some(link)) => {
                let provider = &mut Statements(link.session.get()?.0);
                calls::tell_watermark(provider, &queue, &node.name, watermark)?;
                link.told = Some((watermark, Instant::now()));
                self.node = Some(node);
            }
            (Step::Finish(batch), Some(link)) => {
                link.finish(batch)?;
                self.unfinished = false;
                failpoint::visit(failpoint::Step::FinishCommitted);
                if self.looked_besides.is_none_or(|then| then.elapsed() >= BESIDES) {
                    self.look_besides(&node)?;
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Apply a batch, unless a copier has to come level first.
    fn apply(&mut self, node: &Node, batch: Batch) -> Result<(), Error> {
        self.replay.load_tables(&mut Statements(self.local.get()?.0))?;
        if self.see_to_tables(node, Some(batch))? {
            self.stop.sleep(HOLD);
            return Ok(());
        }
        let Self { link, local, replay, stop, settings, .. } = self;
        let Some(link) = link else { return Ok(()) };
        let keeps_events = node.kind == Kind::Branch;
        if !batch::apply(link, local, replay, stop, (batch, Role::Worker), keeps_events)? {
            stop.sleep(HOLD);
            return Ok(());
        }
        self.unfinished = true;
        if replay.missed > 0 {
            let missed = std::mem::take(&mut replay.missed);
            log::warn!("{}: {missed} updates and deletes met no row", settings.job);
        }
        Ok(())
    }

    /// What is besides the round.
    fn look_besides(&mut self, node: &Node) -> Result<(), Error> {
        self.looked_besides = Some(Instant::now());
        let queue = self.settings.queue.clone();
        let client = self.local.get()?.0;
        self.replay.load_tables(&mut Statements(client))?;
        if self.restore_again.is_none_or(|again| Instant::now() >= again) {
            let is_done = foreign_keys::restore(client, &queue)?;
            self.restore_again = (!is_done).then(|| Instant::now() + AGAIN);
        }
        // One that has died after it handed its table over has not unregistered.
        let prefix = format!("{}.copy.", node.worker);
        let left: Vec<String> = client
            .query_typed(
                "select consumer_name from pgq_node.get_consumer_info($1)
                  where pg_catalog.starts_with(consumer_name, $2)",
                &[(&queue, Type::TEXT), (&prefix, Type::TEXT)],
            )?
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?;
        for consumer in left {
            if let Some(table) = consumer.strip_prefix(&prefix) {
                self.copies.ensure(&self.settings, &node.worker, table);
            }
        }
        self.see_to_tables(node, None)?;
        Ok(())
    }

    /// Begin copies and hand-overs; true when a copier has to come level first.
    fn see_to_tables(&mut self, node: &Node, batch: Option<Batch>) -> Result<bool, Error> {
        let Self { settings, replay, local, copies, link, waiting, busy, .. } = self;
        let list = replay.tables();
        for table in list.iter().filter(|table| !matches!(table.state, State::Missing | State::Ok))
        {
            copies.ensure(settings, &node.worker, &table.name);
        }
        let ready = match link {
            Some(link) if list.iter().any(|table| table.state == State::Missing) => {
                tables::in_sync(&mut Statements(link.session.get()?.0), &settings.queue)?
            }
            _ => BTreeSet::new(),
        };
        waiting.retain(|name| !ready.contains(name));
        for table in list.iter().filter(|table| table.state == State::Missing) {
            let can_copy = ready.contains(&table.name) && obstacle(table).is_none();
            if !can_copy && waiting.insert(table.name.clone()) {
                let why = obstacle(table).unwrap_or_else(|| {
                    format!("node \"{}\" does not have all rows", node.provider)
                });
                log::warn!("{}: table \"{}\" is not copied: {why}", settings.job, table.name);
            }
        }
        let now = Instant::now();
        let is_busy = |table: &Table| busy.get(&table.name).is_some_and(|again| now < *again);
        let is_ready = |table: &Table| {
            ready.contains(&table.name) && obstacle(table).is_none() && !is_busy(table)
        };
        let tick = batch.map(|batch| batch.tick);
        let tables::Orders { orders, hold } =
            orders(list, tick, settings.parallel_copies, is_ready);
        for order in orders {
            let queue = settings.queue.as_str();
            if let Order::Copy(table) = order {
                // By itself: it waits for whoever uses the tables, and nobody is to wait for the
                // worker's row meanwhile.
                let mut here = local.get()?.0.transaction()?;
                match foreign_keys::drop(&mut here, table.target()) {
                    Err(error) if error.sqlstate() == Some(tables::LOCK_TIMEOUT) => {
                        if busy.insert(table.name.clone(), Instant::now() + AGAIN).is_none() {
                            log::warn!(
                                "{}: table \"{}\" is not copied yet: somebody uses tables whose foreign keys are to be dropped",
                                settings.job,
                                table.name
                            );
                        }
                        continue;
                    }
                    dropped => dropped?,
                }
                busy.remove(&table.name);
                // Another worker may have copied the table meanwhile, and restored them.
                if !table.is_as_read(&mut Statements(&mut here), queue)? {
                    continue;
                }
                here.commit()?;
            }
            let mut here = local.get()?.0.transaction()?;
            // Another process that works for this node is in the middle of no batch now.
            let completed = calls::lock_completed(&mut Statements(&mut here), queue, &node.worker)?;
            if batch.is_some_and(|batch| batch.previous != completed) {
                return Ok(true);
            }
            let session = &mut Statements(&mut here);
            match order {
                Order::Copy(table) => {
                    if table.change_state(session, queue, State::InCopy, None)? {
                        here.commit()?;
                        copies.ensure(settings, &node.worker, &table.name);
                    }
                }
                Order::DoSync(table, tick) => {
                    let snapshot = table.snapshot.as_deref();
                    if table.change_state(session, queue, State::DoSync(tick), snapshot)? {
                        here.commit()?;
                        failpoint::visit(failpoint::Step::SyncBegun);
                    }
                }
            }
        }
        Ok(hold)
    }

    fn tend_root(&mut self, queue: &str) -> Result<(), Error> {
        if self.tended.is_some_and(|then| then.elapsed() < TEND) {
            return Ok(());
        }
        self.tended = Some(Instant::now());
        let client = self.local.get()?.0;
        client.query_typed("select londiste.root_check_seqs($1)", &[(&queue, Type::TEXT)])?;
        client.query_typed("select pgq_node.maint_watermark($1)", &[(&queue, Type::TEXT)])?;
        Ok(())
    }

    /// Something failed: the next step begins with a look at everything.
    fn failed(&mut self, error: &Error) {
        self.node = None;
        self.unfinished = false;
        // What it says of batches may be of another time.
        self.link = None;
        if error.needs_reconnect() {
            self.local.close();
        }
        if let Some(name) = &self.name {
            note_error(&mut self.local, &self.settings.queue, name, error);
        }
    }
}

/// Why a table is never copied by this worker.
fn obstacle(table: &Table) -> Option<String> {
    let other = table.attributes.get("copy_node")?;
    Some(format!("it is to come from node \"{other}\", and this worker copies from the provider"))
}
