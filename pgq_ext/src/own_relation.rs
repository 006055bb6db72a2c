//! Whether a relation that a row of `pgq.queue` names is part of a queue.
//!
//! Names in tables are data: whoever may write them must not thereby choose what code with more
//! rights reads, locks or advances. A view there would run its functions, a table its triggers and
//! expressions, as the extension's owner. So every use of such a name, in Rust and in SQL, passes
//! here.

use std::cell::RefCell;
use std::collections::HashMap;

use pgrx::pg_sys;

use crate::error::PgqError;
use pgq_pg::call::{Call, Returned};
use pgq_pg::catalog::{self, QualifiedName};
use pgq_pg::text::Text;
use pgq_pg::{sequence, watch};

/// What the proof that a relation is a queue's rests on; other numbers, another proof.
type Proof = (u32, u32, u64);

thread_local! {
    /// By relation and the kind that it was proved to be.
    static PROVEN: RefCell<HashMap<(pg_sys::Oid, u8), Proof>> = RefCell::new(HashMap::new());
}

/// Whether a relation is of a kind that `is_one` confirms; it is asked again when something about
/// it may have changed.
fn is_proven(relation: pg_sys::Oid, kind: u8, is_one: impl FnOnce(pg_sys::Oid) -> bool) -> bool {
    let Some(queues) = catalog::relation_oid(c"pgq", c"queue") else { return false };
    // The numbers before the facts.
    let relations = (watch::of_relation(relation), watch::of_relation(queues));
    let proof = (relations.0, relations.1, watch::of_functions());
    if PROVEN.with_borrow(|proven| proven.get(&(relation, kind)) == Some(&proof)) {
        return true;
    }
    if catalog::relation_kind(relation) != Some(kind) || !is_one(queues) {
        return false;
    }
    PROVEN.with_borrow_mut(|proven| {
        // Relations come and go with their queues.
        if proven.len() > 10_000 {
            proven.clear();
        }
        proven.insert((relation, kind), proof);
    });
    true
}

/// The event table of this name; None when there is no such relation. Error: it is something else.
pub(crate) fn event_table(name: &str) -> Result<Option<pg_sys::Oid>, PgqError> {
    let not_one = || PgqError::NotEventTable { name: name.to_owned() };
    let split = QualifiedName::split(name).ok_or_else(not_one)?;
    let Some(oid) = split.oid() else { return Ok(None) };
    if is_event_table(oid) { Ok(Some(oid)) } else { Err(not_one()) }
}

fn is_event_table(table: pg_sys::Oid) -> bool {
    is_proven(table, pg_sys::RELKIND_RELATION, |queues| {
        is_trusted(table, queues)
            && catalog::relation_oid(c"pgq", c"event_template")
                .is_some_and(|template| catalog::inherits(table, template))
    })
}

/// Relation and schema belong to the owner of `pgq.queue`, or to a superuser, as after a restore by
/// another one: nobody else can attach code to it, or put another relation into its place.
fn is_trusted(relation: pg_sys::Oid, queues: pg_sys::Oid) -> bool {
    let owner = catalog::relation_owner(queues);
    let is_trusted = |role: Option<pg_sys::Oid>| {
        role.is_some() && (role == owner || role.is_some_and(catalog::is_superuser))
    };
    is_trusted(catalog::relation_owner(relation)) && is_trusted(catalog::schema_owner(relation))
}

/// The sequence of this name; None when there is no such relation. Error: it is not one that this
/// queue has for itself.
pub(crate) fn own_sequence(queue: i32, name: &str) -> Result<Option<pg_sys::Oid>, PgqError> {
    let not_one = || PgqError::NotOwnSequence { name: name.to_owned() };
    let split = QualifiedName::split(name).ok_or_else(not_one)?;
    let Some(oid) = split.oid() else { return Ok(None) };
    let is_one = name.starts_with(&format!("pgq.event_{queue}_"))
        && is_proven(oid, pg_sys::RELKIND_SEQUENCE, |queues| is_trusted(oid, queues));
    if is_one { Ok(Some(oid)) } else { Err(not_one()) }
}

fn found(name: &str, oid: Option<pg_sys::Oid>) -> Result<Returned, PgqError> {
    oid.map(Returned::Oid).ok_or_else(|| PgqError::NoSuchRelation { name: name.to_owned() })
}

/// `pgq._event_table(i_name)`.
pub(crate) fn event_table_function(call: &Call) -> Result<Returned, PgqError> {
    let Some(name) = call.text(0) else { return Ok(Returned::Null) };
    let name = name.to_display();
    found(&name, event_table(&name)?)
}

/// `pgq._own_sequence(i_queue_id, i_name)`.
pub(crate) fn own_sequence_function(call: &Call) -> Result<Returned, PgqError> {
    let (Some(queue), Some(name)) = (call.int4(0), call.text(1)) else {
        return Ok(Returned::Null);
    };
    let name = name.to_display();
    found(&name, own_sequence(queue, &name)?)
}

/// `pgq._sequence_value(i_queue_id, i_name)`: how far ids are given out, for who looks at many
/// queues and stumbles over none.
pub(crate) fn sequence_value(call: &Call) -> Result<Returned, PgqError> {
    let (Some(queue), Some(name)) = (call.int4(0), call.text(1)) else {
        return Ok(Returned::Null);
    };
    let sequence = own_sequence(queue, &name.to_display()).ok().flatten();
    Ok(sequence.and_then(sequence::last_value).map_or(Returned::Null, Returned::Int8))
}

/// `pgq.seq_getval(i_seq_name)`: any sequence that the caller may read. Nothing but a sequence is
/// opened, so no view runs.
pub(crate) fn seq_getval(call: &Call) -> Result<Returned, PgqError> {
    let Some(name) = call.text(0) else { return Ok(Returned::Null) };
    let qualified = name.with_bytes(|bytes| match bytes.contains(&b'.') {
        true => bytes.to_vec(),
        false => [b"public.", bytes].concat(),
    });
    let display = || Text::new(&qualified).to_display();
    let oid = QualifiedName::split_bytes(&qualified).and_then(|name| name.oid_for_user());
    let oid = oid.ok_or_else(|| PgqError::NoSuchRelation { name: display() })?;
    let value = sequence::current_value(oid);
    value.map(Returned::Int8).ok_or_else(|| PgqError::NotASequence { name: display() })
}
