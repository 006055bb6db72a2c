//! What the events of a batch do on a node, in the transaction that completes it.

use std::collections::BTreeSet;

use super::meaning::Meaning;
use super::round::Batch;
use super::tables::{State, Table};
use super::{calls, execute, tables};
use crate::apply::Applier;
use crate::change::{Captured, Operation, RowChange};
use crate::copy_plan::not_copied;
use crate::error::Error;
use crate::name;
use crate::session::{Argument, Failure, Session};

/// Names of tables or sequences that a node is told about, or is not.
#[derive(Clone, Debug, Default)]
pub struct Register {
    /// None but these; none: all.
    pub only: Option<BTreeSet<String>>,
    /// All but these.
    pub skip: BTreeSet<String>,
}

impl Register {
    /// Is the node told about this one?
    pub fn takes(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(name)) && !self.skip.contains(name)
    }
}

/// Whose events are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'r> {
    /// The node's worker: of the tables that are in sync, and what concerns the queue.
    Worker,
    /// The copier of this table: of nothing else.
    Copier(&'r str),
}

/// Applies events of one queue on one node.
#[derive(Debug)]
pub struct Replay {
    queue: String,
    tables: Vec<Table>,
    applier: Applier,
    /// Tables that are registered when the queue gets one.
    pub register_tables: Register,
    /// Sequences that are.
    pub register_sequences: Register,
    /// After a failure: find out which event it is.
    pub careful: bool,
    /// Updates and deletes whose row was not there.
    pub missed: u64,
}

impl Replay {
    /// Of a queue.
    pub fn new(queue: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            tables: Vec::new(),
            applier: Applier::new(),
            register_tables: Register::default(),
            register_sequences: Register::default(),
            careful: false,
            missed: 0,
        }
    }

    /// The tables that are attached.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Read anew which tables are attached, and how far they are.
    ///
    /// # Errors
    /// [`Error::Refused`] for a table whose handler we do not have; the session's.
    pub fn load_tables<S: Session>(&mut self, local: &mut S) -> Result<(), S::Error> {
        let tables = Table::list(local, &self.queue)?;
        if tables == self.tables {
            return Ok(());
        }
        let mut applier = Applier::new();
        applier.exact(true);
        applier.allow_truncate(true);
        applier.truncate_cascades(true);
        for table in &tables {
            check_handler(table)?;
            if let Some(destination) = &table.destination {
                applier.map_table(&table.name, destination);
            }
        }
        (self.tables, self.applier) = (tables, applier);
        Ok(())
    }

    /// Is the batch the consumer's next one, and may it be applied now? The consumer's row is
    /// locked then until the end of the transaction, and the tables are read anew under that lock:
    /// whoever changes them for another process does so before it or after it.
    ///
    /// # Errors
    /// [`Error::Call`] when there is no such consumer; those of [`Replay::load_tables`].
    pub fn claim<S: Session>(
        &mut self,
        local: &mut S,
        consumer: &str,
        batch: Batch,
        role: Role<'_>,
    ) -> Result<bool, S::Error> {
        if calls::lock_completed(local, &self.queue, consumer)? != batch.previous {
            local.remark(&"another process has applied the batch");
            return Ok(false);
        }
        self.load_tables(local)?;
        Ok(match role {
            Role::Worker => !tables::orders(&self.tables, Some(batch.tick), 0, |_| false).hold,
            Role::Copier(_) => self.tables.iter().any(|table| takes(table, role)),
        })
    }

    /// Forget what is known of tables' columns: something failed, and they may have changed.
    pub fn forget_columns(&mut self) {
        self.applier.forget_tables();
    }

    /// What the provider need not send: of a table what its copy has seen; for a copier other
    /// tables.
    pub fn filter(&self, role: Role<'_>) -> Option<String> {
        let own = match role {
            Role::Worker => None,
            Role::Copier(table) => {
                Some(format!("ev_extra1 operator(pg_catalog.=) {}", name::literal(table)))
            }
        };
        let seen = self
            .tables
            .iter()
            .filter(|table| takes(table, role))
            .filter_map(|table| Some(not_copied(&[&table.name], table.snapshot.as_deref()?)));
        let conditions: Vec<_> = own.into_iter().chain(seen).collect();
        (!conditions.is_empty()).then(|| conditions.join(" and "))
    }

    /// Apply a page of events, which follows the one before.
    ///
    /// # Errors
    /// [`Error::Payload`], [`Error::Absent`], [`Error::Refused`] for an event that cannot be
    /// applied; the session's.
    pub fn page<S: Session, E: Captured>(
        &mut self,
        local: &mut S,
        events: &[E],
        role: Role<'_>,
    ) -> Result<(), S::Error> {
        let mut data: Vec<&E> = Vec::with_capacity(events.len());
        for event in events {
            let meaning = Meaning::of(event, &self.queue)?;
            if meaning.is_data() {
                if self.is_of_interest(event, role)? {
                    data.push(event);
                }
            } else if role == Role::Worker {
                self.flush(local, &mut data)?;
                self.obey(local, meaning)?;
            }
        }
        self.flush(local, &mut data)
    }

    fn is_of_interest(&self, event: &impl Captured, role: Role<'_>) -> Result<bool, Error> {
        let table = self.tables.iter().find(|table| table.name == event.table());
        let Some(table) = table.filter(|table| takes(table, role)) else { return Ok(false) };
        if !table.attributes.get("handler").is_some_and(|text| text.contains("ignore_truncate=1")) {
            return Ok(true);
        }
        let change = RowChange::of(event)?;
        Ok(change.is_none_or(|change| change.operation != Operation::Truncate))
    }

    fn flush<S: Session, E: Captured>(
        &mut self,
        local: &mut S,
        data: &mut Vec<&E>,
    ) -> Result<(), S::Error> {
        if data.is_empty() {
            return Ok(());
        }
        let applied = if self.careful {
            let (applied, left_out) = self.applier.apply_possible(local, data)?;
            if let Some((at, error)) = left_out.into_iter().next() {
                let event = data.get(at).map(|event| (event.id(), event.table()));
                let (id, table) = event.unwrap_or_default();
                local.remark(&format_args!("event {id}, table \"{table}\": {error}"));
                let text = error.to_string();
                return Err(match text.contains(&format!("event {id}")) {
                    true => error,
                    false => {
                        let sqlstate = error.sqlstate().map(str::to_owned);
                        let table = table.to_owned();
                        Error::Event { id, table, reason: text, sqlstate }.into()
                    }
                });
            }
            applied
        } else {
            self.applier.apply(local, data)?
        };
        self.missed += applied.missed;
        data.clear();
        Ok(())
    }

    fn obey<S: Session>(&mut self, local: &mut S, meaning: Meaning<'_>) -> Result<(), S::Error> {
        let queue = self.queue.clone();
        let queue = queue.as_str();
        let mut call = |function: &str, arguments: &[&str]| -> Result<i64, S::Error> {
            let queue = Argument::from(queue);
            let rest = arguments.iter().map(|text| Argument::from(*text));
            let arguments: Vec<_> = std::iter::once(queue).chain(rest).collect();
            calls::call(local, function, &arguments)
        };
        match meaning {
            Meaning::Data => {}
            Meaning::Execute { .. } => {
                if execute::replay(local, queue, &self.tables, meaning)? {
                    self.forget_columns();
                }
            }
            Meaning::AddTable(table) => {
                if self.register_tables.takes(table) {
                    call("londiste.global_add_table($1, $2)", &[table])?;
                }
            }
            Meaning::RemoveTable(table) => {
                if self.register_tables.takes(table) {
                    remove(local, "londiste.global_remove_table($1, $2)", queue, table)?;
                    self.tables.retain(|own| own.name != table);
                }
            }
            Meaning::UpdateSequence { name, value } => {
                if self.register_sequences.takes(name) {
                    call("londiste.global_update_seq($1, $2, $3::bigint)", &[name, value])?;
                }
            }
            Meaning::RemoveSequence(name) => {
                if self.register_sequences.takes(name) {
                    remove(local, "londiste.global_remove_seq($1, $2)", queue, name)?;
                }
            }
            Meaning::Location { node, location, dead } => {
                let dead = if dead { "true" } else { "false" };
                let location = Argument::Text((!location.is_empty()).then_some(location));
                let arguments = [queue.into(), node.into(), location, dead.into()];
                let function = "pgq_node.register_location($1, $2, $3, $4::boolean)";
                calls::call(local, function, &arguments)?;
            }
            Meaning::ForgetLocation(node) => {
                call("pgq_node.unregister_location($1, $2)", &[node])?;
            }
            Meaning::GlobalWatermark(tick) => {
                call("pgq_node.set_global_watermark($1, $2::bigint)", &[tick])?;
            }
            Meaning::PartWatermark { part, tick } => {
                let function = "pgq_node.set_partition_watermark($1, $2, $3::bigint)";
                call(function, &[part, tick])?;
            }
        }
        Ok(())
    }
}

/// Remove what the root has removed. It may be gone here: removed by hand, or never registered.
fn remove<S: Session>(
    local: &mut S,
    function: &str,
    queue: &str,
    name: &str,
) -> Result<(), S::Error> {
    if !calls::remove(local, function, &[queue.into(), name.into()])? {
        local.remark(&format_args!("\"{name}\" was removed, and is not here"));
    }
    Ok(())
}

/// Does whoever has this role apply the table's events?
fn takes(table: &Table, role: Role<'_>) -> bool {
    match role {
        Role::Worker => table.state == State::Ok,
        Role::Copier(name) => {
            table.name == name && matches!(table.state, State::CatchingUp | State::DoSync(_))
        }
    }
}

/// What we can do with a table's changes is to apply them.
fn check_handler(table: &Table) -> Result<(), Error> {
    let handler = table.attributes.get("handler").unwrap_or("londiste");
    let (name, _) = handler.split_once('(').unwrap_or((handler, ""));
    if matches!(name, "" | "londiste") {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "table \"{}\" has handler \"{name}\", which this worker does not have",
        table.name
    )))
}
