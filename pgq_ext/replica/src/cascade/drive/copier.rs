//! A table's copier: it copies the rows, follows the table's changes, and hands it over.

use std::fmt::Display;
use std::time::Duration;

use super::link::{self, Link};
use super::{ErrorOf, Host, Local, Remote, batch, expected, within};
use crate::apply;
use crate::cascade::calls::{self, Position};
use crate::cascade::copying::{Step, decide};
use crate::cascade::node::{Kind, Node};
use crate::cascade::replay::{Replay, Role};
use crate::cascade::round::{Batch, Looked};
use crate::cascade::tables::{State, Table};
use crate::cascade::{copier, tables};
use crate::copy_plan::CopyPlan;
use crate::error::Error;
use crate::name;
use crate::session::Session;

/// Between looks for a tick, or for the worker.
const PAUSE: Duration = Duration::from_millis(50);

/// Between two times that a tick is asked for, for the worker to answer with.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// That shows nothing yet.
    On,
    /// It shows that all is in order.
    Well,
    /// It was the last.
    Away,
}

/// Copies one table.
pub struct Copier<H: Host> {
    queue: String,
    table: String,
    consumer: String,
    link: Option<Link<H::Remote>>,
    replay: Replay,
    /// The copy waits for the worker, which was said.
    waits: bool,
    /// When a tick was asked for, for the worker.
    asked: Option<Duration>,
    /// Where it was when a batch did not fit. What the provider has said may be of another time,
    /// when another process has gone on meanwhile.
    lost: Option<Position>,
}

impl<H: Host> Copier<H> {
    /// Of a table, for the node's worker of this name.
    pub fn new(queue: &str, worker: &str, table: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            table: table.to_owned(),
            consumer: super::consumer_of_copy(worker, table),
            link: None,
            replay: Replay::new(queue),
            waits: false,
            asked: None,
            lost: None,
        }
    }

    /// Under which name it is known.
    pub fn name(&self) -> &str {
        &self.consumer
    }

    /// Something failed: the next step begins with a look at everything.
    pub fn forget(&mut self) {
        self.link = None;
        self.replay.forget_columns();
    }

    /// One step.
    ///
    /// # Errors
    /// Whatever stops it; [`Copier::forget`] and try again later.
    pub fn step(&mut self, host: &mut H, local: &mut H::Local) -> Result<Went, ErrorOf<H>> {
        let queue = self.queue.clone();
        let node = Node::read(local, &queue)?;
        let place = calls::position(local, &queue, &self.consumer)?;
        self.replay.load_tables(local)?;
        let table = self.replay.tables().iter().find(|table| table.name == self.table).cloned();
        let Some(table) = table.filter(|_| node.kind != Kind::Root) else {
            return self.leave(host, local, &node, place.as_ref());
        };
        if place.as_ref().is_some_and(|place| place.provider != node.provider) {
            return self.move_away(host, local, &table, place.as_ref());
        }
        if self.link.as_ref().is_none_or(|link| {
            (link.name.as_str(), link.location.as_str()) != (&node.provider, &node.location)
        }) {
            self.link = None;
            self.link = Some(link::connect(host, local, &node, &queue, &self.consumer)?);
        }
        let completed = match &place {
            Some(place) => place.completed,
            None if copier::follows(&table) => {
                return self.begin_anew(host, local, &table, None, &"its position is gone");
            }
            None => 0,
        };
        let Some(link) = &mut self.link else { return Ok(Went::On) };
        let sees_copy = match (&table.snapshot, table.state) {
            (Some(snapshot), State::CatchingUp) => link.sees_all_of(completed, snapshot)?,
            _ => true,
        };
        let place = place.as_ref();
        let step = decide(Some(table.state), completed, node.completed, link.looked, sees_copy);
        let step = match step {
            Err(error @ Error::LostPosition { .. }) => {
                if self.lost.as_ref() != place {
                    self.lost = place.cloned();
                    self.link = None;
                    return Ok(Went::On);
                }
                self.lost = None;
                return self.begin_anew(host, local, &table, place, &error);
            }
            step => step?,
        };
        match step {
            Step::Copy => return self.copy(host, local, &node, &table, place.is_none()),
            Step::Look => {
                return match link.look() {
                    // What the copy has not seen is kept for us no more.
                    Err(error) if link::is_unknown(&error) => {
                        self.begin_anew(host, local, &table, place, &error)
                    }
                    looked => looked.map(|()| Went::On),
                };
            }
            Step::Apply(batch) => self.apply(local, batch)?,
            Step::Finish(batch) => link.finish(batch)?,
            Step::AskForTick => {
                link.ask_for_tick()?;
                link.looked = Looked::NotYet;
                host.pause(PAUSE);
            }
            Step::Want(tick) => {
                self.change(local, &table, place, State::WannaSync(tick))?;
                // The worker answers with its next batch, and there may be no events for one.
                if let Some(link) = &mut self.link {
                    link.ask_for_tick()?;
                    self.asked = Some(host.now());
                }
            }
            Step::Wait => {
                link.looked = Looked::NotYet;
                // The tick may have been asked for, and gone, before the worker could see why.
                let is_due = |then| host.now().saturating_sub(then) >= ASK_AGAIN;
                if matches!(table.state, State::WannaSync(_)) && self.asked.is_none_or(is_due) {
                    link.ask_for_tick()?;
                    self.asked = Some(host.now());
                }
                host.pause(PAUSE);
            }
            Step::HandOver => {
                if self.change(local, &table, place, State::Ok)? {
                    host.say(&format_args!("table \"{}\" is in sync", self.table));
                }
            }
            Step::Leave => return self.leave(host, local, &node, place),
        }
        self.lost = None;
        Ok(Went::Well)
    }

    /// Change the table's state, unless another process has changed it, or the position, since they
    /// were read.
    fn change(
        &mut self,
        local: &mut H::Local,
        table: &Table,
        place: Option<&Position>,
        to: State,
    ) -> Result<bool, ErrorOf<H>> {
        let changed = within(local, |local| {
            let changed = copier::change(local, &self.queue, &self.consumer, table, place, to)?;
            Ok(changed.then_some(()))
        })?;
        Ok(changed.is_some())
    }

    /// Copy the rows once more, in the place of those that were copied. Another process may have
    /// handed the table over since it was looked at: then nothing is done, and nothing said.
    fn begin_anew(
        &mut self,
        host: &mut H,
        local: &mut H::Local,
        table: &Table,
        place: Option<&Position>,
        why: &dyn Display,
    ) -> Result<Went, ErrorOf<H>> {
        if table.attributes.is_set("skip_truncate") {
            return Err(Error::Refused(format!(
                "the copy of table \"{0}\" has to begin anew, and skip_truncate keeps the rows that were copied: delete them, then select londiste.local_set_table_state('{1}', '{0}', null, null)",
                table.name, self.queue
            ))
            .into());
        }
        if self.change(local, table, place, State::InCopy)? {
            host.warn(&format_args!("{why}: the copy begins anew"));
        }
        Ok(Went::On)
    }

    /// Away from a node that is the provider no more. What a copy has seen is said in transactions
    /// of the node that it came from.
    fn move_away(
        &mut self,
        host: &mut H,
        local: &mut H::Local,
        table: &Table,
        place: Option<&Position>,
    ) -> Result<Went, ErrorOf<H>> {
        let Some(old) = place else { return Ok(Went::On) };
        if copier::follows(table) {
            return self.begin_anew(host, local, table, place, &"the provider has changed");
        }
        link::forget_at(host, local, &self.queue, &self.consumer, &old.provider);
        calls::unregister(local, &self.queue, &self.consumer)?;
        Ok(Went::On)
    }

    /// Copy all rows. Registered before, so that batches have what the copy does not see.
    fn copy(
        &mut self,
        host: &mut H,
        local: &mut H::Local,
        node: &Node,
        table: &Table,
        is_new: bool,
    ) -> Result<Went, ErrorOf<H>> {
        let Self { queue, consumer, link, waits, .. } = self;
        let Some(link) = link else { return Ok(Went::On) };
        if !copier::is_ready(&mut link.there, queue, table, node.completed)? {
            if !std::mem::replace(waits, true) {
                host.say(&"waits for the worker or for the provider");
            }
            host.pause(PAUSE);
            return Ok(Went::On);
        }
        let mut position = Position { completed: node.completed, provider: node.provider.clone() };
        if is_new {
            // Here first: so it is known where else to unregister, whatever comes.
            let begun = within(local, |local| {
                Ok(copier::begin(local, queue, consumer, table, &position)?.then_some(()))
            })?;
            if begun.is_none() {
                return Ok(Went::On);
            }
        }
        position.completed = link.register()?;
        expected::note(&mut link.there, local, queue, &table.name)?;
        let copied = within(local, |local| {
            calls::begin(local)?;
            if !copier::begin(local, queue, consumer, table, &position)? {
                return Ok(None);
            }
            fill(host, link, local, node, table)
        });
        // Whatever is open there ends with it.
        if !matches!(copied, Ok(Some(_))) {
            self.link = None;
        }
        let Some(rows) = copied? else { return Ok(Went::On) };
        local.tidy()?;
        host.say(&format_args!("copied {rows} rows of table \"{}\"", self.table));
        Ok(Went::Well)
    }

    fn apply(&mut self, local: &mut H::Local, batch: Batch) -> Result<(), ErrorOf<H>> {
        let Self { link, replay, table, .. } = self;
        let Some(link) = link else { return Ok(()) };
        batch::apply(link, local, replay, (batch, Role::Copier(table)), false)?;
        local.tidy()
    }

    /// Unregister; nothing more is to be done. Where the provider is away, its part of it is left
    /// for the next time.
    fn leave(
        &mut self,
        host: &mut H,
        local: &mut H::Local,
        node: &Node,
        place: Option<&Position>,
    ) -> Result<Went, ErrorOf<H>> {
        match place {
            Some(place) if place.provider != node.provider => {
                link::forget_at(host, local, &self.queue, &self.consumer, &place.provider);
            }
            _ if node.kind == Kind::Root => {}
            _ => {
                let mut link = match self.link.take() {
                    Some(link) if link.name == node.provider => link,
                    _ => link::connect(host, local, node, &self.queue, &self.consumer)?,
                };
                link.unregister()?;
            }
        }
        calls::unregister(local, &self.queue, &self.consumer)?;
        Ok(Went::Away)
    }
}

/// Copy the rows into the table, in the transaction that notes what they have seen; how many. None
/// when the table is no longer as it was read, here or there.
fn fill<H: Host>(
    host: &mut H,
    link: &mut Link<H::Remote>,
    local: &mut H::Local,
    node: &Node,
    table: &Table,
) -> Result<Option<u64>, ErrorOf<H>> {
    let Link { there, queue, .. } = link;
    let absent = || Error::Absent(format!("this node has no table \"{}\"", table.target()));
    let target = apply::Table::look_up(local, table.target())?.ok_or_else(absent)?;
    if !table.attributes.is_set("skip_truncate") {
        let truncate = format!("truncate {}", target.name_alone());
        local.run(&format!("{}; {truncate}; set local lock_timeout = 0", tables::SHORT_WAIT))?;
    }
    let Some(source) = tables::source(there, queue, &table.name)? else { return Ok(None) };
    let snapshot = begin_to_read(there, &source)?;
    // As this snapshot has it.
    if tables::source(there, queue, &table.name)?.as_ref() != Some(&source)
        || !copier::is_ready(there, queue, table, node.completed)?
    {
        return Ok(None);
    }
    let mut rows = 0;
    if let Some(plan) = CopyPlan::make(there, &source, &target)? {
        for column in &plan.left_out {
            host.warn(&format_args!("column \"{column}\" is not here"));
        }
        let own = name::split(table.target());
        rows = there.copy_out(&plan.out, |rows| local.copy_in(own, &plan.columns, rows))?;
    }
    there.run("commit")?;
    let state = State::CatchingUp;
    Ok(table.change_state(local, queue, state, Some(&snapshot))?.then_some(rows))
}

/// Begin to read a table under one snapshot, which is told: all rows, or an error. The table is
/// locked before the snapshot is taken: one that is truncated or rewritten after it would look
/// empty.
fn begin_to_read<R: Remote>(there: &mut R, table: &str) -> Result<String, R::Error> {
    there.run("begin isolation level repeatable read read only; set local row_security = off")?;
    there.run(&format!("lock table {} in access share mode", name::quoted(table)))?;
    let rows = there.rows("select pg_catalog.txid_current_snapshot()::pg_catalog.text", &[])?;
    let row = rows.first().ok_or_else(|| Error::Answer("no snapshot".to_owned()))?;
    Ok(row.text(0)?.to_owned())
}
