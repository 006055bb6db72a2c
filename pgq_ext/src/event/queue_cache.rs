//! What a backend remembers of the queues it writes to.
//!
//! An entry is right as long as no invalidation of `pgq.queue`, or of the queue's event table or
//! sequence, was processed since it was loaded. Triggers on `pgq.queue` ([`queue_changed`]) send
//! that invalidation for every change of a queue's row, also for a rotation; what is done to a
//! table, its indexes, its triggers or its rights sends it by itself.
//!
//! Where those triggers are not there, or not enabled ALWAYS, nothing tells of a change: in a
//! database with the SQL of PgQ 3 that this library serves, or after `alter table pgq.queue disable
//! trigger`. Then nothing is remembered: each call reads the row again, once the transaction has
//! its id (see [`super::insert`]).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::error::PgqError;
use crate::{event_table, own_relation};
use pgq_pg::call::{Call, Returned};
use pgq_pg::heap::{Plain, WritableTable};
use pgq_pg::hot::Target;
use pgq_pg::sql::{Query, Record, Under};
use pgq_pg::text::Text;
use pgq_pg::value::Value;
use pgq_pg::{always_trigger, catalog, watch, xact};

/// One queue as of its last load.
#[derive(Debug)]
pub(crate) struct Queue {
    /// `queue_id`.
    pub(crate) id: i32,
    /// `queue_cur_table`: changes with every rotation.
    pub(crate) current_table: i32,
    /// Name of the current event table, as `pgq.current_event_table` gives it.
    pub(crate) table_name: String,
    /// The current event table.
    pub(crate) table: pg_sys::Oid,
    /// The event id sequence.
    pub(crate) event_sequence: pg_sys::Oid,
    /// `queue_disable_insert`.
    pub(crate) insert_disabled: bool,
    /// `queue_per_tx_limit`; None: no limit.
    pub(crate) transaction_limit: Option<i32>,
    /// How to store rows directly; None: the event table needs the executor.
    pub(crate) plain: Option<Plain>,
    /// A change of the row is heard of.
    is_announced: bool,
    /// The transaction had its id when the row was read.
    is_settled: bool,
    generation: u64,
    functions: u64,
}

impl Queue {
    /// Where its events go.
    pub(crate) fn target(&self) -> Target {
        let generation = self.generation;
        Target { table: self.table, sequence: self.event_sequence, generation }
    }

    /// False when something about the queue may have changed since it was loaded.
    ///
    /// To be asked once the transaction has its id and the event table is locked.
    pub(crate) fn is_current(&self) -> bool {
        self.is_unchanged() && (self.is_announced || self.is_settled)
    }

    /// False when a change was heard of since it was loaded.
    fn is_unchanged(&self) -> bool {
        self.generation == watch::generation() && self.functions == watch::of_functions()
    }
}

// It runs with the rights of the extension's owner and the search_path of whoever inserts: nothing
// in it may be looked up there.
const QUEUE_ROW: &str = "
    select q.queue_id
         , q.queue_cur_table
         , pg_catalog.concat(q.queue_data_pfx, '_', q.queue_cur_table)
         , q.queue_event_seq
         , q.queue_disable_insert
         , q.queue_per_tx_limit
      from pgq.queue q
     where q.queue_name operator(pg_catalog.=) $1";

/// Why a value of the row is there.
const NOT_NULL: &str = "pgq.queue declares the column not null";

thread_local! {
    static ROW: Query = const { Query::new(QUEUE_ROW, &[pg_sys::TEXTOID]) };
    /// The queue used last, in front of the others: most transactions write to one.
    static LAST: RefCell<Option<(Vec<u8>, Rc<Queue>)>> = const { RefCell::new(None) };
    static CACHE: RefCell<HashMap<Vec<u8>, Rc<Queue>>> = RefCell::new(HashMap::new());
}

/// The queue of this name, from the cache or from the latest committed row; None when there is no
/// such queue.
///
/// Where changes are not heard of, the answer is for this call only.
pub(crate) fn lookup(name: Text) -> Result<Option<Rc<Queue>>, PgqError> {
    let cached = name.with_bytes(|bytes| {
        LAST.with_borrow_mut(|last| {
            if let Some((last_name, queue)) = last
                && last_name == bytes
            {
                return Some(Rc::clone(queue));
            }
            let queue = CACHE.with_borrow(|cache| cache.get(bytes).cloned())?;
            *last = Some((bytes.to_vec(), Rc::clone(&queue)));
            Some(queue)
        })
    });
    match cached {
        Some(queue) if queue.is_unchanged() => Ok(Some(queue)),
        Some(_) | None => reload(name),
    }
}

fn reload(name: Text) -> Result<Option<Rc<Queue>>, PgqError> {
    CACHE.with_borrow_mut(|cache| {
        // One stale entry means that all are: their generation is the same number.
        if cache.values().any(|queue| !queue.is_unchanged()) {
            cache.clear();
            watch::unwatch_all();
        }
    });
    loop {
        let Some(queue) = load(name)? else { return Ok(None) };
        // Loading takes locks, so an invalidation may have come in the middle of it.
        if queue.is_unchanged() {
            let queue = Rc::new(queue);
            if !queue.is_announced {
                return Ok(Some(queue));
            }
            let key = name.with_bytes(<[u8]>::to_vec);
            LAST.set(Some((key.clone(), Rc::clone(&queue))));
            CACHE.with_borrow_mut(|cache| cache.insert(key, Rc::clone(&queue)));
            return Ok(Some(queue));
        }
    }
}

fn load(name: Text) -> Result<Option<Queue>, PgqError> {
    // Nothing may slip between the query and the watch: watch pgq.queue first, take the number,
    // then read.
    let is_announced = watch_queue_table();
    let (generation, functions) = (watch::generation(), watch::of_functions());
    let is_settled = xact::has_xid();
    let read = |row: Record<'_>| {
        let queue = Queue {
            id: row.get(1).expect(NOT_NULL),
            current_table: row.get(2).expect(NOT_NULL),
            table_name: row.get(3).expect(NOT_NULL),
            table: pg_sys::InvalidOid,
            event_sequence: pg_sys::InvalidOid,
            insert_disabled: row.get(5).expect(NOT_NULL),
            transaction_limit: row.get(6),
            plain: None,
            is_announced,
            is_settled,
            generation,
            functions,
        };
        (queue, row.get::<String>(4).expect(NOT_NULL))
    };
    let row = ROW.with(|query| query.first(&[Value::Text(name)], Under::Latest, read))?;
    let Some((mut queue, sequence)) = row else { return Ok(None) };
    let or_none = |oid: Option<pg_sys::Oid>| oid.unwrap_or(pg_sys::InvalidOid);
    queue.event_sequence = or_none(own_relation::own_sequence(queue.id, &sequence)?);
    queue.table = or_none(own_relation::event_table(&queue.table_name)?);
    let missing = |object: &str| PgqError::Corrupt {
        queue: name.to_display(),
        problem: format!("its {object} does not exist"),
    };
    if queue.event_sequence == pg_sys::InvalidOid {
        return Err(missing("event id sequence"));
    }
    let Some(table) =
        (queue.table != pg_sys::InvalidOid).then(|| WritableTable::open(queue.table)).flatten()
    else {
        return Err(missing(&format!("event table {}", queue.table_name)));
    };
    watch::watch(queue.table);
    watch::watch(queue.event_sequence);
    queue.plain = table.plain(&event_table::COLUMNS, &event_table::NEVER_NULL);
    Ok(Some(queue))
}

/// Watch `pgq.queue`; an extension that was dropped and created again has another one. True when
/// its triggers tell of every change.
fn watch_queue_table() -> bool {
    catalog::relation_oid(c"pgq", c"queue").is_some_and(|oid| {
        watch::watch(oid);
        always_trigger::reports_all(oid, pgq_pg::entry_of!(pgq_queue_changed))
    })
}

/// `pgq._queue_changed()`: trigger on `pgq.queue`, makes every backend load its queues again.
pub(crate) fn queue_changed(call: &Call) -> Result<Returned, PgqError> {
    if let Some(relation) = call.trigger_relation() {
        watch::invalidate(relation);
    }
    Ok(Returned::Done)
}
