//! A table's copier: it copies the rows, follows the table's changes, and hands it over.

use std::fmt::Display;
use std::time::Duration;

use pgq_replica::cascade::calls::{self, Position};
use pgq_replica::cascade::copying::{Step, decide};
use pgq_replica::cascade::node::{Kind, Node};
use pgq_replica::cascade::replay::{Replay, Role};
use pgq_replica::cascade::round::{Batch, Looked};
use pgq_replica::cascade::tables::{State, Table};
use pgq_replica::cascade::{copier, tables};
use pgq_replica::{CopyPlan, Error as Replica};
use postgres::types::Type;

use super::batch;
use super::link::Link;
use super::local::note_error;
use super::settings::CascadeSettings;
use crate::connector::Connector;
use crate::copying;
use crate::error::Error;
use crate::failpoint;
use crate::outage::Outage;
use crate::remote::copy::sees_all_of;
use crate::session::Session;
use crate::statements::Statements;
use crate::stop::Stop;

/// Between looks for a tick, or for the worker.
const PAUSE: Duration = Duration::from_millis(50);

/// What a provider answers that does not know a queue or its consumer.
const UNDEFINED: &str = "42704";

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    /// That shows nothing yet.
    On,
    /// It shows that all is in order.
    Well,
    /// It was the last.
    Away,
}

/// Copies one table.
pub(super) struct Copier {
    settings: CascadeSettings,
    table: String,
    consumer: String,
    stop: Stop,
    local: Session,
    link: Option<Link>,
    replay: Replay,
    /// The copy waits for the worker, which was said.
    waits: bool,
    /// Where it was when a batch did not fit. What the provider has said may be of another time,
    /// when another process has gone on meanwhile.
    lost: Option<Position>,
}

impl Copier {
    pub(super) fn new(settings: CascadeSettings, worker: &str, table: &str, stop: Stop) -> Self {
        let consumer = format!("{worker}.copy.{table}");
        let local = Session::to_queue(settings.local.clone().application_name(&consumer));
        let replay = Replay::new(&settings.queue);
        let table = table.to_owned();
        let (link, waits, lost) = (None, false, None);
        Self { settings, table, consumer, stop, local, link, replay, waits, lost }
    }

    /// Work until the table is handed over, or stopped.
    pub(super) fn run(&mut self) {
        let mut outage = Outage::new(self.consumer.clone());
        while !self.stop.is_requested() {
            let link = self.link.as_ref().and_then(|link| link.session.cancel());
            let cancels = [self.local.cancel(), link].into_iter().flatten();
            let stop = self.stop.clone();
            match stop.cancellable(cancels, || self.step()) {
                Some(Ok(Went::Well)) => outage.over(),
                Some(Ok(Went::On)) => {}
                Some(Ok(Went::Away)) | None => return,
                Some(Err(_)) if self.stop.is_requested() => return,
                Some(Err(error)) => {
                    self.link = None;
                    self.replay.forget_columns();
                    if error.needs_reconnect() {
                        self.local.close();
                    }
                    note_error(&mut self.local, &self.settings.queue, &self.consumer, &error);
                    self.stop.sleep(outage.pause(&error));
                }
            }
        }
    }

    fn step(&mut self) -> Result<Went, Error> {
        let queue = self.settings.queue.clone();
        let session = &mut Statements(self.local.get()?.0);
        let node = Node::read(session, &queue)?;
        let place = calls::position(session, &queue, &self.consumer)?;
        self.replay.load_tables(session)?;
        let table = self.replay.tables().iter().find(|table| table.name == self.table).cloned();
        let Some(table) = table.filter(|_| node.kind != Kind::Root) else {
            return self.leave(&node, place.as_ref());
        };
        if place.as_ref().is_some_and(|place| place.provider != node.provider) {
            return self.move_away(&table, place.as_ref());
        }
        if self.link.as_ref().is_none_or(|link| {
            (link.name.as_str(), link.location.as_str()) != (&node.provider, &node.location)
        }) {
            // Its statements can be cancelled from the next step on.
            self.link = Some(Link::connect(&self.settings, &node, &self.consumer)?);
            return Ok(Went::On);
        }
        let completed = match &place {
            Some(place) => place.completed,
            None if copier::follows(&table) => {
                return self.begin_anew(&table, None, &"its position is gone");
            }
            None => 0,
        };
        let Some(link) = &mut self.link else { return Ok(Went::On) };
        let sees_copy = match (&table.snapshot, table.state) {
            (Some(snapshot), State::CatchingUp) => {
                sees_all_of(link.session.get()?.0, &queue, completed, snapshot)?
            }
            _ => true,
        };
        let place = place.as_ref();
        let step = decide(Some(table.state), completed, node.completed, link.looked, sees_copy);
        match step {
            Err(error @ Replica::LostPosition { .. }) => {
                if self.lost.as_ref() != place {
                    self.lost = place.cloned();
                    self.link = None;
                    return Ok(Went::On);
                }
                self.lost = None;
                return self.begin_anew(&table, place, &error);
            }
            step => match step? {
                Step::Copy => return self.copy(&node, &table, place.is_none()),
                Step::Look => {
                    return match link.look() {
                        // What the copy has not seen is kept for us no more.
                        Err(error) if error.sqlstate() == Some(UNDEFINED) => {
                            self.begin_anew(&table, place, &error)
                        }
                        looked => looked.map(|()| Went::On),
                    };
                }
                Step::Apply(batch) => self.apply(batch)?,
                Step::Finish(batch) => link.finish(batch)?,
                Step::AskForTick => {
                    link.ask_for_tick();
                    link.looked = Looked::NotYet;
                    self.stop.sleep(PAUSE);
                }
                Step::Want(tick) => {
                    self.change(&table, place, State::WannaSync(tick))?;
                    failpoint::visit(failpoint::Step::SyncWanted);
                    // The worker answers with its next batch, and there may be no events for one.
                    if let Some(link) = &mut self.link {
                        link.ask_for_tick();
                    }
                }
                Step::Wait => {
                    link.looked = Looked::NotYet;
                    self.stop.sleep(PAUSE);
                }
                Step::HandOver => {
                    if self.change(&table, place, State::Ok)? {
                        log::info!("{}: table \"{}\" is in sync", self.consumer, self.table);
                        failpoint::visit(failpoint::Step::HandedOver);
                    }
                }
                Step::Leave => return self.leave(&node, place),
            },
        }
        self.lost = None;
        Ok(Went::Well)
    }

    /// Change the table's state, unless another process has changed it, or the position, since they
    /// were read.
    fn change(
        &mut self,
        table: &Table,
        place: Option<&Position>,
        to: State,
    ) -> Result<bool, Error> {
        let queue = self.settings.queue.as_str();
        let mut here = self.local.get()?.0.transaction()?;
        let session = &mut Statements(&mut here);
        let changed = copier::change(session, queue, &self.consumer, table, place, to)?;
        if changed {
            here.commit()?;
        }
        Ok(changed)
    }

    /// Copy the rows once more, in the place of those that were copied. Another process may have
    /// handed the table over since it was looked at: then nothing is done, and nothing said.
    fn begin_anew(
        &mut self,
        table: &Table,
        place: Option<&Position>,
        why: &dyn Display,
    ) -> Result<Went, Error> {
        if table.attributes.is_set("skip_truncate") {
            return Err(Error::Cascade(format!(
                "the copy of table \"{0}\" has to begin anew, and skip_truncate keeps the rows that were copied: delete them, then select londiste.local_set_table_state('{1}', '{0}', null, null)",
                table.name, self.settings.queue
            )));
        }
        if self.change(table, place, State::InCopy)? {
            log::warn!("{}: {why}: the copy begins anew", self.consumer);
        }
        Ok(Went::On)
    }

    /// Away from a node that is the provider no more. What a copy has seen is said in transactions
    /// of the node that it came from.
    fn move_away(&mut self, table: &Table, place: Option<&Position>) -> Result<Went, Error> {
        let Some(old) = place else { return Ok(Went::On) };
        if copier::follows(table) {
            return self.begin_anew(table, place, &"the provider has changed");
        }
        self.forget_at(&old.provider);
        let session = &mut Statements(self.local.get()?.0);
        calls::unregister(session, &self.settings.queue, &self.consumer)?;
        Ok(Went::On)
    }

    /// Copy all rows. Registered before, so that batches have what the copy does not see.
    fn copy(&mut self, node: &Node, table: &Table, is_new: bool) -> Result<Went, Error> {
        let queue = self.settings.queue.as_str();
        let Some(link) = &mut self.link else { return Ok(Went::On) };
        let (there, _) = link.session.get()?;
        if !copier::is_ready(&mut Statements(there), queue, table, node.completed)? {
            if !std::mem::replace(&mut self.waits, true) {
                log::info!("{}: waits for the worker or for the provider", self.consumer);
            }
            self.stop.sleep(PAUSE);
            return Ok(Went::On);
        }
        let local = self.local.get()?.0;
        let mut position = Position { completed: node.completed, provider: node.provider.clone() };
        if is_new {
            // Here first: so it is known where else to unregister, whatever comes.
            let mut here = local.transaction()?;
            let session = &mut Statements(&mut here);
            if !copier::begin(session, queue, &self.consumer, table, &position)? {
                return Ok(Went::On);
            }
            here.commit()?;
        }
        link.subscription.register(there)?;
        link.looked = Looked::NotYet;
        failpoint::visit(failpoint::Step::CopierRegistered);
        let row = there.query_typed_one(
            "select last_tick from pgq.get_consumer_info($1, $2)",
            &[(&queue, Type::TEXT), (&self.consumer, Type::TEXT)],
        )?;
        position.completed = row.try_get(0)?;

        let mut here = local.transaction()?;
        let session = &mut Statements(&mut here);
        calls::begin(session)?;
        if !copier::begin(session, queue, &self.consumer, table, &position)? {
            return Ok(Went::On);
        }
        let target = pgq_replica::Table::look_up(session, table.target())?.ok_or_else(|| {
            Error::Absent(format!("this node has no table \"{}\"", table.target()))
        })?;
        if !table.attributes.is_set("skip_truncate") {
            let truncate = format!("truncate {}", target.name_alone());
            here.batch_execute(&format!(
                "{}; {truncate}; set local lock_timeout = 0",
                tables::SHORT_WAIT
            ))?;
        }
        let Some(source) = tables::source(&mut Statements(there), queue, &table.name)? else {
            return Ok(Went::On);
        };
        let (mut seen, snapshot) = copying::begin(there, std::slice::from_ref(&source))?;
        let session = &mut Statements(&mut seen);
        // As this snapshot has it.
        if tables::source(session, queue, &table.name)?.as_ref() != Some(&source)
            || !copier::is_ready(session, queue, table, node.completed)?
        {
            return Ok(Went::On);
        }
        let plan = CopyPlan::make(session, &source, &target)?;
        let mut rows = 0;
        if let Some(plan) = &plan {
            for column in &plan.left_out {
                log::warn!("{}: column \"{column}\" is not here", self.consumer);
            }
            rows = copying::pipe(&mut seen, &mut here, plan)?;
        }
        seen.commit()?;
        failpoint::visit(failpoint::Step::RowsCopied);
        let session = &mut Statements(&mut here);
        if !table.change_state(session, queue, State::CatchingUp, Some(&snapshot))? {
            return Ok(Went::On);
        }
        here.commit()?;
        log::info!("{}: copied {rows} rows of table \"{}\"", self.consumer, self.table);
        failpoint::visit(failpoint::Step::CopyCommitted);
        Ok(Went::Well)
    }

    fn apply(&mut self, batch: Batch) -> Result<(), Error> {
        let Self { link, local, replay, stop, table, .. } = self;
        let Some(link) = link else { return Ok(()) };
        batch::apply(link, local, replay, stop, (batch, Role::Copier(table)), false)?;
        Ok(())
    }

    /// Unregister; nothing more is to be done. Where the provider is away, its part of it is left
    /// for the next time.
    fn leave(&mut self, node: &Node, place: Option<&Position>) -> Result<Went, Error> {
        match place {
            Some(place) if place.provider != node.provider => self.forget_at(&place.provider),
            _ if node.kind == Kind::Root => {}
            _ => {
                let mut link = match self.link.take() {
                    Some(link) if link.name == node.provider => link,
                    _ => Link::connect(&self.settings, node, &self.consumer)?,
                };
                let (there, _) = link.session.get()?;
                link.subscription.unregister(there)?;
            }
        }
        let session = &mut Statements(self.local.get()?.0);
        calls::unregister(session, &self.settings.queue, &self.consumer)?;
        Ok(Went::Away)
    }

    /// Unregister at a node that is the provider no more: it would keep all events for us.
    fn forget_at(&mut self, provider: &str) {
        if let Err(error) = self.try_forget_at(provider) {
            log::warn!(
                "{0}: node \"{provider}\" keeps events for it until \"select pgq.unregister_consumer('{1}', '{0}')\" is run there: {error}",
                self.consumer,
                self.settings.queue
            );
        }
    }

    fn try_forget_at(&mut self, provider: &str) -> Result<(), Error> {
        let queue = &self.settings.queue;
        let row = self.local.get()?.0.query_typed_opt(
            "select node_location
               from pgq_node.get_queue_locations($1)
              where node_name operator(pg_catalog.=) $2",
            &[(queue, Type::TEXT), (&provider, Type::TEXT)],
        )?;
        let Some(row) = row else { return Ok(()) };
        let location: String = row.try_get(0)?;
        let location = format!("{location} {}", self.settings.remote_extra);
        let mut there = Connector::new(location.trim_end())?.connect()?;
        there.query_typed(
            "select pgq.unregister_consumer($1, $2)",
            &[(queue, Type::TEXT), (&self.consumer, Type::TEXT)],
        )?;
        Ok(())
    }
}
