//! A node as its worker sees it.

use crate::error::Error;
use crate::session::{Row, Session};

/// What a node is in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It takes events and makes ticks.
    Root,
    /// It has a copy of the queue.
    Branch,
    /// It has no queue.
    Leaf,
}

impl Kind {
    fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "root" => Ok(Self::Root),
            "branch" => Ok(Self::Branch),
            "leaf" => Ok(Self::Leaf),
            other => Err(Error::Answer(format!("\"{other}\" is no type of a node"))),
        }
    }
}

/// A node and its worker's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its worker, under which name the provider knows the node.
    pub worker: String,
    /// The node that it reads from; itself on a root.
    pub provider: String,
    /// Where that is.
    pub location: String,
    /// The last tick up to which all is applied.
    pub completed: i64,
    /// The administrator wants the worker to pause.
    pub paused: bool,
    /// The worker has seen the last change by the administrator.
    pub uptodate: bool,
    /// The tick that the node's subtree still needs.
    pub watermark: Option<i64>,
    /// The newest tick of the node's own queue; none on a leaf.
    pub queue_top: Option<i64>,
    /// The queue that this one is merged into.
    pub combined: Option<String>,
}

const STATE: &str = "
select ret_code::pg_catalog.text, ret_note, node_type, node_name, worker_name, provider_node,
       provider_location, completed_tick::pg_catalog.text, paused::pg_catalog.text,
       uptodate::pg_catalog.text, local_watermark::pg_catalog.text,
       local_queue_top::pg_catalog.text, combined_queue
  from pgq_node.get_worker_state($1)";

impl Node {
    /// Ask the node's database.
    ///
    /// # Errors
    /// [`Error::Call`] when it is no node of this queue, or its state is torn; the session's.
    pub fn read<S: Session>(session: &mut S, queue: &str) -> Result<Self, S::Error> {
        let rows = session.rows(STATE, &[queue.into()])?;
        let row = rows.first().ok_or_else(|| Error::Answer("no state of the node".to_owned()))?;
        Ok(Self::of(row)?)
    }

    fn of(row: &Row) -> Result<Self, Error> {
        super::calls::check(row)?;
        let text = |column| row.text(column).map(str::to_owned);
        Ok(Self {
            kind: Kind::parse(row.text(2)?)?,
            name: text(3)?,
            worker: text(4)?,
            provider: text(5)?,
            location: text(6)?,
            completed: row.number(7)?,
            paused: row.flag(8)?,
            uptodate: row.flag(9)?,
            watermark: row.number_or_null(10)?,
            queue_top: row.number_or_null(11)?,
            combined: row.get(12)?.map(str::to_owned),
        })
    }
}
