//! A node's worker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::foreign_keys::{self, ForeignKeys};
use super::link::{self, Link};
use super::{ErrorOf, Host, Local, Pace, batch, obstacle, within};
use crate::cascade::calls;
use crate::cascade::node::{Kind, Node};
use crate::cascade::replay::{Replay, Role};
use crate::cascade::round::{Batch, Hand, Looked, Step, decide};
use crate::cascade::tables::{self, Order, State, Table, orders};
use crate::error::Error;
use crate::session::{Failure, Session};

/// Between looks for a copier that the worker waits for.
const HOLD: Duration = Duration::from_millis(50);
/// A wait that is over so soon was none.
const AT_ONCE: Duration = Duration::from_millis(5);
/// Between two looks for what is besides the round: copies to begin, foreign keys to restore.
const BESIDES: Duration = Duration::from_secs(1);
/// The same, while copies are on their way.
const BESIDES_COPIES: Duration = Duration::from_millis(100);
/// Between attempts to begin a copy whose tables somebody uses.
const BUSY_AGAIN: Duration = Duration::from_secs(10);
/// Between two times that a root's worker sees to sequences and watermark.
const TEND: Duration = Duration::from_secs(10);

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// That shows nothing yet.
    Step,
    /// It shows that all is in order.
    Round,
}

/// The worker of one node, which replays what its provider has and has new tables copied.
pub struct Worker<H: Host> {
    queue: String,
    pace: Pace,
    link: Option<Link<H::Remote>>,
    /// The name of the node's worker, once it was read.
    name: Option<String>,
    /// The node, unless it has to be read anew.
    node: Option<Node>,
    replay: Replay,
    keys: ForeignKeys,
    looked_besides: Option<Duration>,
    tended: Option<Duration>,
    /// The provider that was said.
    reads_from: Option<String>,
    /// A batch was applied since one was finished.
    has_applied: bool,
    /// Tables whose copy waits for something, which was said.
    waiting: BTreeSet<String>,
    /// Tables whose copy could not begin because somebody used them, and when to try again.
    busy: BTreeMap<String, Duration>,
    /// Copies are on their way.
    copies: bool,
}

impl<H: Host> Worker<H> {
    /// Of a queue's node.
    pub fn new(queue: &str, pace: Pace) -> Self {
        Self {
            queue: queue.to_owned(),
            pace,
            link: None,
            name: None,
            node: None,
            replay: Replay::new(queue),
            keys: ForeignKeys::default(),
            looked_besides: None,
            tended: None,
            reads_from: None,
            has_applied: false,
            waiting: BTreeSet::new(),
            busy: BTreeMap::new(),
            copies: false,
        }
    }

    /// Under which name the node's worker is known, once it was read.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Something failed: the next step begins with a look at everything. What was said of batches
    /// may be of another time, and the connection may be of no use.
    pub fn forget(&mut self) {
        (self.node, self.link) = (None, None);
    }

    /// One step of a round.
    ///
    /// # Errors
    /// Whatever stops it; [`Worker::forget`] and try again later.
    pub fn step(&mut self, host: &mut H, local: &mut H::Local) -> Result<Done, ErrorOf<H>> {
        let queue = self.queue.clone();
        if !host.may_work(local)? {
            host.stop_copies();
            // The other worker goes on from there.
            self.forget();
            host.pause(self.pace.loop_delay);
            return Ok(Done::Round);
        }
        let node = match self.node.take() {
            Some(node) => node,
            None => Node::read(local, &queue)?,
        };
        self.name = Some(node.worker.clone());
        if let Some(combined) = &node.combined {
            return Err(Error::Refused(format!(
                "node \"{}\" is merged into queue \"{combined}\", which this worker does not do",
                node.name
            ))
            .into());
        }
        let now = host.now();
        let link = self.link.as_ref();
        let hand = Hand {
            connected: link.map(|link| (link.name.as_str(), link.location.as_str())),
            looked: link.map_or(Looked::NotYet, |link| link.looked),
            told: link.and_then(Link::told),
            told_lately: link.is_some_and(|link| link.told_lately(now)),
        };
        let (besides, longest) = (self.are_besides_due(now), self.besides());
        match (decide(&node, &hand)?, &mut self.link) {
            (Step::Acknowledge, _) => calls::acknowledge(local, &queue, &node.worker)?,
            (Step::Pause, _) => {
                host.pause(self.pace.loop_delay);
                return Ok(Done::Round);
            }
            (Step::TendRoot, _) => {
                self.link = None;
                self.tend_root(local, now)?;
                host.pause(self.pace.loop_delay);
                return Ok(Done::Round);
            }
            (Step::Connect, _) | (_, None) => {
                self.link = None;
                self.link = Some(link::connect(host, local, &node, &queue, &node.worker)?);
                if self.reads_from.as_ref() != Some(&node.provider) {
                    host.say(&format_args!("reads from node \"{}\"", node.provider));
                    self.reads_from = Some(node.provider.clone());
                }
                self.node = Some(node);
            }
            (Step::Look, Some(link)) => {
                link.look()?;
                self.node = Some(node);
            }
            (Step::Wait, Some(link)) => {
                if besides {
                    self.look_besides(host, local, &node)?;
                } else if link.waits() {
                    // Between waits the node is looked at.
                    link.wait(longest)?;
                    // One that does not wait is not asked again and again.
                    if link.looked == Looked::NotYet && host.now().saturating_sub(now) < AT_ONCE {
                        host.pause(HOLD);
                    }
                } else {
                    link.looked = Looked::NotYet;
                    host.pause(self.pace.loop_delay);
                }
                return Ok(Done::Round);
            }
            (Step::Apply(batch), Some(_)) => self.apply(host, local, &node, batch)?,
            (Step::LayTick(tick), Some(link)) => lay_tick(&mut link.there, local, &queue, tick)?,
            (Step::Tell(watermark), Some(link)) => {
                calls::tell_watermark(&mut link.there, &queue, &node.name, watermark)?;
                link.has_told(watermark, now);
                self.node = Some(node);
            }
            (Step::Finish(batch), Some(link)) => {
                link.finish(batch)?;
                // It may hand out the same one for ever.
                if !std::mem::take(&mut self.has_applied) {
                    host.pause(HOLD);
                }
                if besides {
                    self.look_besides(host, local, &node)?;
                }
                return Ok(Done::Round);
            }
        }
        Ok(Done::Step)
    }

    fn are_besides_due(&self, now: Duration) -> bool {
        self.looked_besides.is_none_or(|then| now.saturating_sub(then) >= self.besides())
    }

    fn besides(&self) -> Duration {
        if self.copies { BESIDES_COPIES } else { BESIDES }
    }

    /// Apply a batch, unless a copier has to come level first.
    fn apply(
        &mut self,
        host: &mut H,
        local: &mut H::Local,
        node: &Node,
        batch: Batch,
    ) -> Result<(), ErrorOf<H>> {
        self.replay.load_tables(local)?;
        let holds = self.see_to_tables(host, local, node, Some(batch))?;
        let Self { link, replay, .. } = self;
        let Some(link) = link else { return Ok(()) };
        let keeps_events = node.kind == Kind::Branch;
        let work = (batch, Role::Worker);
        if holds || !batch::apply(link, local, replay, work, keeps_events)? {
            host.pause(HOLD);
            return Ok(());
        }
        self.has_applied = true;
        local.tidy()?;
        if replay.missed > 0 {
            let missed = std::mem::take(&mut replay.missed);
            host.warn(&format_args!("{missed} updates and deletes met no row"));
        }
        Ok(())
    }

    /// What is besides the round.
    fn look_besides(
        &mut self,
        host: &mut H,
        local: &mut H::Local,
        node: &Node,
    ) -> Result<(), ErrorOf<H>> {
        self.replay.load_tables(local)?;
        self.keys.restore(host, local, &self.queue)?;
        // One that has died after it handed its table over has not unregistered.
        let prefix = format!("{}.copy.", node.worker);
        let rows = local.rows(
            "select consumer_name from pgq_node.get_consumer_info($1)
              where pg_catalog.starts_with(consumer_name, $2)",
            &[self.queue.as_str().into(), prefix.as_str().into()],
        )?;
        for row in rows {
            let consumer = row.text(0)?;
            let Some(table) = consumer.strip_prefix(&prefix) else { continue };
            if !host.copy(local, &node.worker, table)? {
                self.forget_copy(host, local, node, consumer)?;
            }
        }
        self.see_to_tables(host, local, node, None)?;
        self.looked_besides = Some(host.now());
        Ok(())
    }

    /// A table was removed while nothing copied it: its copier's place is here and at the provider,
    /// which would keep all events for it.
    fn forget_copy(
        &mut self,
        host: &mut H,
        local: &mut H::Local,
        node: &Node,
        consumer: &str,
    ) -> Result<(), ErrorOf<H>> {
        let Some(place) = calls::position(local, &self.queue, consumer)? else { return Ok(()) };
        match &mut self.link {
            Some(link) if place.provider == node.provider => {
                link::unregister(&mut link.there, &self.queue, consumer)?;
            }
            _ => link::forget_at(host, local, &self.queue, consumer, &place.provider),
        }
        calls::unregister(local, &self.queue, consumer)
    }

    /// Begin copies and hand-overs; true when a copier has to come level first.
    fn see_to_tables(
        &mut self,
        host: &mut H,
        local: &mut H::Local,
        node: &Node,
        batch: Option<Batch>,
    ) -> Result<bool, ErrorOf<H>> {
        let Self { queue, pace, replay, link, waiting, busy, copies, .. } = self;
        let list = replay.tables();
        for table in list.iter().filter(|table| !matches!(table.state, State::Missing | State::Ok))
        {
            host.copy(local, &node.worker, &table.name)?;
        }
        let ready = match link {
            Some(link) if list.iter().any(|table| table.state == State::Missing) => {
                tables::in_sync(&mut link.there, queue)?
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
                host.warn(&format_args!("table \"{}\" is not copied: {why}", table.name));
            }
        }
        *copies =
            list.iter().any(|table| table.state != State::Ok && !waiting.contains(&table.name));
        let now = host.now();
        let is_busy = |table: &Table| busy.get(&table.name).is_some_and(|again| now < *again);
        let is_ready = |table: &Table| {
            ready.contains(&table.name) && obstacle(table).is_none() && !is_busy(table)
        };
        let tick = batch.map(|batch| batch.tick);
        let tables::Orders { orders, hold } = orders(list, tick, pace.parallel_copies, is_ready);
        for order in orders {
            if let Order::Copy(table) = order {
                // By itself: it waits for whoever uses the tables, and nobody is to wait for the
                // worker's row meanwhile. Another worker may have copied the table meanwhile, and
                // restored them.
                let dropped = within(local, |local| {
                    foreign_keys::drop(local, table.target())?;
                    Ok(table.is_as_read(local, queue)?.then_some(()))
                });
                let dropped = match dropped {
                    Err(error) if error.sqlstate() == Some(tables::LOCK_TIMEOUT) => {
                        let again = host.now() + BUSY_AGAIN;
                        if busy.insert(table.name.clone(), again).is_none() {
                            host.warn(&format_args!(
                                "table \"{}\" is not copied yet: somebody uses tables whose \
                                 foreign keys are to be dropped",
                                table.name
                            ));
                        }
                        continue;
                    }
                    dropped => dropped?,
                };
                busy.remove(&table.name);
                if dropped.is_none() {
                    continue;
                }
            }
            // Another process that works for this node is in the middle of no batch now.
            let mut is_elsewhere = false;
            let changed = within(local, |local| {
                let completed = calls::lock_completed(local, queue, &node.worker)?;
                is_elsewhere = batch.is_some_and(|batch| batch.previous != completed);
                if is_elsewhere {
                    return Ok(None);
                }
                let changed = match order {
                    Order::Copy(table) => table.change_state(local, queue, State::InCopy, None)?,
                    Order::DoSync(table, tick) => {
                        let snapshot = table.snapshot.as_deref();
                        table.change_state(local, queue, State::DoSync(tick), snapshot)?
                    }
                };
                Ok(changed.then_some(()))
            })?;
            if is_elsewhere {
                return Ok(true);
            }
            if let (Order::Copy(table), Some(())) = (order, changed) {
                host.copy(local, &node.worker, &table.name)?;
            }
        }
        Ok(hold)
    }

    fn tend_root(&mut self, local: &mut H::Local, now: Duration) -> Result<(), ErrorOf<H>> {
        if self.tended.is_some_and(|then| now.saturating_sub(then) < TEND) {
            return Ok(());
        }
        let queue = [self.queue.as_str().into()];
        local.rows("select londiste.root_check_seqs($1)::pg_catalog.text", &queue)?;
        local.rows("select pgq_node.maint_watermark($1)::pg_catalog.text", &queue)?;
        self.tended = Some(now);
        Ok(())
    }
}

/// Lay a tick of the provider's in the node's own queue. In a transaction of its own: its snapshot
/// has to see the events.
fn lay_tick<L: Local, R: Session<Error = L::Error>>(
    there: &mut R,
    local: &mut L,
    queue: &str,
    tick: i64,
) -> Result<(), L::Error> {
    let number = tick.to_string();
    let rows = there.rows(
        "select (extract(epoch from t.tick_time) operator(pg_catalog.*) 1000000)::bigint
                    ::pg_catalog.text,
                t.tick_event_seq::pg_catalog.text
           from pgq.tick t
                join pgq.queue q on q.queue_id operator(pg_catalog.=) t.tick_queue
          where q.queue_name operator(pg_catalog.=) $1
            and t.tick_id operator(pg_catalog.=) $2::bigint",
        &[queue.into(), number.as_str().into()],
    )?;
    let row = rows.first().ok_or_else(|| {
        Error::Answer(format!(
            "tick {tick} of queue \"{queue}\" is to be laid, and the provider does not have it"
        ))
    })?;
    let arguments =
        [queue.into(), number.as_str().into(), row.text(0)?.into(), row.text(1)?.into()];
    local.rows(
        "select pgq.ticker($1, $2::bigint,
                           timestamp with time zone 'epoch' operator(pg_catalog.+)
                               ($3::bigint operator(pg_catalog.*) interval '1 microsecond'),
                           $4::bigint)::pg_catalog.text",
        &arguments,
    )?;
    Ok(())
}
