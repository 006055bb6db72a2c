//! The tables of a queue on a node, and which of them its worker has to do something about.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::attributes::Attributes;
use crate::error::Error;
use crate::session::{Argument, Row, Session};

/// How far a table is. Only who owns a state changes it: the worker or the table's copier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing of it is here; the worker's.
    Missing,
    /// Its rows are being copied; the copier's.
    InCopy,
    /// The copier applies its changes; the copier's.
    CatchingUp,
    /// The copier waits until the worker's batch ends at this tick or later; the worker's.
    WannaSync(i64),
    /// The worker waits with a batch that ends at this tick: the copier is to apply what is before
    /// that batch; the copier's.
    DoSync(i64),
    /// The worker applies its changes.
    Ok,
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::Answer(format!("\"{text}\" is no state of a table"));
        match text.split_once(':') {
            Some(("wanna-sync", tick)) => tick.parse().map(Self::WannaSync).map_err(|_| unknown()),
            Some(("do-sync", tick)) => tick.parse().map(Self::DoSync).map_err(|_| unknown()),
            Some(_) => Err(unknown()),
            None => match text {
                "in-copy" => Ok(Self::InCopy),
                "catching-up" => Ok(Self::CatchingUp),
                "ok" | "?" => Ok(Self::Ok),
                _ => Err(unknown()),
            },
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("missing"),
            Self::InCopy => formatter.write_str("in-copy"),
            Self::CatchingUp => formatter.write_str("catching-up"),
            Self::WannaSync(tick) => write!(formatter, "wanna-sync:{tick}"),
            Self::DoSync(tick) => write!(formatter, "do-sync:{tick}"),
            Self::Ok => formatter.write_str("ok"),
        }
    }
}

/// A table that is attached on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name on the queue.
    pub name: String,
    /// How far it is.
    pub state: State,
    /// What its copy has seen, where events are told apart by it.
    pub snapshot: Option<String>,
    /// How it is handled.
    pub attributes: Attributes,
    /// The table of this database, when its name is another.
    pub destination: Option<String>,
}

/// Those who use a table are not made to wait for long behind what locks it whole, in the
/// transaction that this is for.
pub const SHORT_WAIT: &str = "set local lock_timeout = '2s'";
/// What that fails with.
pub const LOCK_TIMEOUT: &str = "55P03";

const LIST: &str = "
select table_name, merge_state, custom_snapshot, table_attrs, dest_table
  from londiste.get_table_list($1)
 where local";

const STATE: &str = "
select merge_state, custom_snapshot
  from londiste.table_info
 where queue_name operator(pg_catalog.=) $1
   and table_name operator(pg_catalog.=) $2
   and local";

const SOURCE: &str = "
select coalesce(dest_table, table_name)
  from londiste.get_table_list($1)
 where table_name operator(pg_catalog.=) $2
   and local
   and merge_state operator(pg_catalog.=) 'ok'";

const IN_SYNC: &str = "
select table_name
  from londiste.get_table_list($1)
 where local
   and merge_state operator(pg_catalog.=) 'ok'";

const SET_STATE: &str = "londiste.local_set_table_state($1, $2, $3, $4)";

impl Table {
    /// The tables that are attached on this node, in the order in which they were.
    ///
    /// # Errors
    /// [`Error::Answer`] for a state that nobody knows; the session's.
    pub fn list<S: Session>(session: &mut S, queue: &str) -> Result<Vec<Self>, S::Error> {
        let rows = session.rows(LIST, &[queue.into()])?;
        Ok(rows.iter().map(Self::of).collect::<Result<_, _>>()?)
    }

    fn of(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            name: row.text(0)?.to_owned(),
            state: row.get(1)?.map_or(Ok(State::Missing), str::parse)?,
            snapshot: row.get(2)?.map(str::to_owned),
            attributes: Attributes::parse(row.get(3)?.unwrap_or_default())?,
            destination: row.get(4)?.map(str::to_owned),
        })
    }

    /// The table of this database.
    pub fn target(&self) -> &str {
        self.destination.as_deref().unwrap_or(&self.name)
    }

    /// Is it still as it was when it was read: its state, and what its copy has seen?
    ///
    /// # Errors
    /// [`Error::Answer`] for a state that nobody knows; the session's.
    pub fn is_as_read<S: Session>(&self, session: &mut S, queue: &str) -> Result<bool, S::Error> {
        self.is_as(session, STATE, queue)
    }

    fn is_as<S: Session>(&self, session: &mut S, sql: &str, queue: &str) -> Result<bool, S::Error> {
        let rows = session.rows(sql, &[queue.into(), self.name.as_str().into()])?;
        let Some(row) = rows.first() else { return Ok(false) };
        let state = row.get(0)?.map_or(Ok(State::Missing), str::parse)?;
        Ok(state == self.state && row.get(1)? == self.snapshot.as_deref())
    }

    /// Change its state, and what its copy has seen. False when somebody else has changed it since
    /// it was read, or it is attached no more. In a transaction.
    ///
    /// # Errors
    /// [`Error::Answer`] for a state that nobody knows; the session's.
    pub fn change_state<S: Session>(
        &self,
        session: &mut S,
        queue: &str,
        state: State,
        snapshot: Option<&str>,
    ) -> Result<bool, S::Error> {
        if !self.is_as(session, &format!("{STATE}\n   for update"), queue)? {
            return Ok(false);
        }
        let text = state.to_string();
        let state = (state != State::Missing).then_some(text.as_str());
        let (snapshot, state) = (Argument::Text(snapshot), Argument::Text(state));
        let arguments = [queue.into(), self.name.as_str().into(), snapshot, state];
        super::calls::call(session, SET_STATE, &arguments)?;
        Ok(true)
    }
}

/// The tables of which a node has all rows, by their names on the queue.
///
/// # Errors
/// The session's.
pub fn in_sync<S: Session>(node: &mut S, queue: &str) -> Result<BTreeSet<String>, S::Error> {
    let rows = node.rows(IN_SYNC, &[queue.into()])?;
    rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
}

/// The table of a node that has all rows of this one of the queue, and may be called otherwise
/// there; none while it has not. Where the node copies it itself, its queue has events that the
/// table does not have yet.
///
/// # Errors
/// The session's.
pub fn source<S: Session>(
    node: &mut S,
    queue: &str,
    table: &str,
) -> Result<Option<String>, S::Error> {
    let rows = node.rows(SOURCE, &[queue.into(), table.into()])?;
    Ok(rows.first().map(|row| row.text(0)).transpose()?.map(str::to_owned))
}

/// Something about a table, for the worker to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'t> {
    /// Begin to copy it.
    Copy(&'t Table),
    /// Have the copier apply what is before the worker's batch, which ends at this tick.
    DoSync(&'t Table, i64),
}

/// What the worker has to do before it applies a batch, and whether it has to wait then and look
/// again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders<'t> {
    /// What to do.
    pub orders: Vec<Order<'t>>,
    /// A copier has to get as far as the worker first.
    pub hold: bool,
}

/// What to do about the tables with a batch that is to be applied and ends at `tick`, or without
/// one. A batch that is applied already must not be given: the copier would leave it out. At most
/// `parallel` tables are on their way at once; `is_ready` says of which the provider has all rows.
pub fn orders<'t>(
    tables: &'t [Table],
    tick: Option<i64>,
    parallel: usize,
    is_ready: impl Fn(&Table) -> bool,
) -> Orders<'t> {
    let mut orders = Vec::new();
    let mut hold = false;
    for table in tables {
        match (table.state, tick) {
            (State::DoSync(_), Some(_)) => hold = true,
            (State::WannaSync(wanted), Some(tick)) if tick >= wanted => {
                orders.push(Order::DoSync(table, tick));
                hold = true;
            }
            _ => {}
        }
    }
    let under_way =
        tables.iter().filter(|table| !matches!(table.state, State::Missing | State::Ok)).count();
    let missing = tables.iter().filter(|table| table.state == State::Missing);
    let room = parallel.saturating_sub(under_way);
    orders.extend(missing.filter(|table| is_ready(table)).take(room).map(Order::Copy));
    Orders { orders, hold }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, state: State) -> Table {
        Table {
            name: name.to_owned(),
            state,
            snapshot: None,
            attributes: Attributes::default(),
            destination: None,
        }
    }

    #[test]
    fn states_are_told_by_their_names() {
        for text in ["in-copy", "catching-up", "wanna-sync:7", "do-sync:8", "ok"] {
            assert_eq!(text.parse::<State>().unwrap().to_string(), text);
        }
        assert_eq!("?".parse(), Ok(State::Ok));
        for text in ["", "wanna-sync", "do-sync:x", "wanna:1"] {
            assert!(text.parse::<State>().is_err(), "{text}");
        }
    }

    #[test]
    fn copies_begin_where_there_is_room_and_the_provider_is_ready() {
        let tables = [
            table("a", State::CatchingUp),
            table("b", State::Missing),
            table("c", State::Missing),
            table("d", State::Missing),
        ];
        let ready = |table: &Table| table.name != "b";
        let begun = |parallel| {
            let orders = orders(&tables, None, parallel, ready).orders;
            let names = orders.iter().map(|order| match order {
                Order::Copy(table) => table.name.clone(),
                Order::DoSync(..) => "?".to_owned(),
            });
            names.collect::<Vec<_>>()
        };
        assert_eq!(begun(1), [""; 0]);
        assert_eq!(begun(2), ["c"]);
        assert_eq!(begun(9), ["c", "d"]);
    }

    #[test]
    fn the_worker_waits_for_a_copier_that_is_level_with_it() {
        let tables = [table("a", State::WannaSync(7))];
        assert_eq!(orders(&tables, Some(6), 1, |_| true), Orders { orders: vec![], hold: false });
        let order = vec![Order::DoSync(&tables[0], 9)];
        assert_eq!(orders(&tables, Some(9), 1, |_| true), Orders { orders: order, hold: true });
        let tables = [table("a", State::DoSync(9))];
        assert_eq!(orders(&tables, Some(9), 1, |_| true), Orders { orders: vec![], hold: true });
        assert_eq!(orders(&tables, None, 1, |_| true), Orders { orders: vec![], hold: false });
    }
}
