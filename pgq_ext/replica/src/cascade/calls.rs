//! Calls of the functions of pgq_node and londiste, which answer by a code and a note.
//!
//! A session looks for names as its role and its database say: triggers and scripts rely on it, and
//! whoever owns the database can put a schema of his own first. So each statement of this crate
//! names the schema of every function, type and operator. `in`, `between`, `like`, `nullif`,
//! `case x when` and `is distinct from` cannot, nor can `using` of a join.

use crate::error::Error;
use crate::session::{Argument, Row, Session};

/// Codes from here on are errors.
const FAILED: i64 = 400;
/// What the functions that remove a table or a sequence say of one that is not there.
const NOT_THERE: i64 = 400;

/// The code of an answer whose first two columns are code and note.
///
/// # Errors
/// [`Error::Call`] when it is one of an error.
pub fn check(row: &Row) -> Result<i64, Error> {
    let code = row.number(0)?;
    if code >= FAILED {
        let note = row.get(1)?.unwrap_or_default().to_owned();
        return Err(Error::Call { code, note });
    }
    Ok(code)
}

/// Call `function($1, …)`, given with its casts; its code.
///
/// # Errors
/// [`Error::Call`] when the code is one of an error; the session's.
pub fn call<S: Session>(
    session: &mut S,
    function: &str,
    arguments: &[Argument<'_>],
) -> Result<i64, S::Error> {
    let rows = session.rows(&question(function), arguments)?;
    let row = rows.first().ok_or_else(|| Error::Answer(format!("{function} said nothing")))?;
    Ok(check(row)?)
}

/// Call a function that removes something, as [`call`]; false when it was not there.
///
/// # Errors
/// As [`call`], but for the code that says so.
pub fn remove<S: Session>(
    session: &mut S,
    function: &str,
    arguments: &[Argument<'_>],
) -> Result<bool, S::Error> {
    let rows = session.rows(&question(function), arguments)?;
    let row = rows.first().ok_or_else(|| Error::Answer(format!("{function} said nothing")))?;
    if row.number(0)? == NOT_THERE {
        return Ok(false);
    }
    check(row)?;
    Ok(true)
}

fn question(function: &str) -> String {
    format!("select ret_code::pg_catalog.text, ret_note from {function}")
}

/// Tell the node that its consumer has seen the administrator's last change.
///
/// # Errors
/// As [`call`].
pub fn acknowledge<S: Session>(local: &mut S, queue: &str, consumer: &str) -> Result<(), S::Error> {
    let arguments = [queue.into(), consumer.into()];
    call(local, "pgq_node.set_consumer_uptodate($1, $2, true)", &arguments)?;
    Ok(())
}

/// Where a consumer of the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The tick up to which it has applied all.
    pub completed: i64,
    /// The node that it reads from.
    pub provider: String,
}

const POSITION: &str = "
select last_tick_id::pg_catalog.text, provider_node
  from pgq_node.local_state
 where queue_name operator(pg_catalog.=) $1
   and consumer_name operator(pg_catalog.=) $2";

/// Where a consumer of the node is; none when there is no such consumer.
///
/// # Errors
/// The session's.
pub fn position<S: Session>(
    local: &mut S,
    queue: &str,
    consumer: &str,
) -> Result<Option<Position>, S::Error> {
    read_position(local, POSITION, queue, consumer)
}

/// The same, and its row stays locked until the end of the transaction: of two processes by mistake
/// one waits here for the other.
///
/// # Errors
/// The session's.
pub fn lock_position<S: Session>(
    local: &mut S,
    queue: &str,
    consumer: &str,
) -> Result<Option<Position>, S::Error> {
    read_position(local, &format!("{POSITION}\n   for update"), queue, consumer)
}

fn read_position<S: Session>(
    local: &mut S,
    sql: &str,
    queue: &str,
    consumer: &str,
) -> Result<Option<Position>, S::Error> {
    let rows = local.rows(sql, &[queue.into(), consumer.into()])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (completed, provider) = (row.number(0)?, row.text(1)?.to_owned());
    Ok(Some(Position { completed, provider }))
}

/// The tick that a consumer has completed, as [`lock_position`].
///
/// # Errors
/// [`Error::Call`] when there is no such consumer; the session's.
pub fn lock_completed<S: Session>(
    local: &mut S,
    queue: &str,
    consumer: &str,
) -> Result<i64, S::Error> {
    let position = lock_position(local, queue, consumer)?;
    let unknown =
        || Error::Call { code: 404, note: format!("Consumer not known: {queue}/{consumer}") };
    Ok(position.ok_or_else(unknown)?.completed)
}

/// Note where a consumer of the node begins.
///
/// # Errors
/// As [`call`].
pub fn register<S: Session>(
    local: &mut S,
    queue: &str,
    consumer: &str,
    position: &Position,
) -> Result<(), S::Error> {
    let tick = position.completed.to_string();
    let provider = position.provider.as_str();
    let arguments = [queue.into(), consumer.into(), provider.into(), tick.as_str().into()];
    call(local, "pgq_node.register_consumer($1, $2, $3, $4::bigint)", &arguments)?;
    Ok(())
}

/// Forget a consumer of the node.
///
/// # Errors
/// As [`call`].
pub fn unregister<S: Session>(local: &mut S, queue: &str, consumer: &str) -> Result<(), S::Error> {
    let arguments = [queue.into(), consumer.into()];
    call(local, "pgq_node.unregister_consumer($1, $2)", &arguments)?;
    Ok(())
}

/// Note, in the transaction that has applied a batch, that all up to its tick is done.
///
/// # Errors
/// As [`call`].
pub fn complete<S: Session>(
    local: &mut S,
    queue: &str,
    consumer: &str,
    tick: i64,
) -> Result<(), S::Error> {
    let tick = tick.to_string();
    let arguments = [queue.into(), consumer.into(), tick.as_str().into()];
    call(local, "pgq_node.set_consumer_completed($1, $2, $3::bigint)", &arguments)?;
    Ok(())
}

/// Tell the provider what the node's subtree still needs. That it does not know the node, or knows
/// better, is no error: the administrator has moved the node meanwhile.
///
/// # Errors
/// The session's.
pub fn tell_watermark<S: Session>(
    provider: &mut S,
    queue: &str,
    node: &str,
    watermark: i64,
) -> Result<(), S::Error> {
    let watermark = watermark.to_string();
    provider.rows(
        "select ret_code::pg_catalog.text
           from pgq_node.set_subscriber_watermark($1, $2, $3::bigint)",
        &[queue.into(), node.into(), watermark.as_str().into()],
    )?;
    Ok(())
}

/// Begin to write in the node's database, for the rest of the transaction: no trigger or foreign
/// key of the server's own interferes, and short statements are not compiled.
///
/// # Errors
/// The session's.
pub fn begin<S: Session>(local: &mut S) -> Result<(), S::Error> {
    set_role(local, "replica")?;
    local.run("set local jit = off")
}

/// Set the role in which triggers fire for the rest of the transaction. Whoever may call the
/// function need be no superuser.
///
/// # Errors
/// The session's.
pub fn set_role<S: Session>(local: &mut S, role: &str) -> Result<(), S::Error> {
    let sql = "select '' from londiste.set_session_replication_role($1, true)";
    local.rows(sql, &[role.into()])?;
    Ok(())
}
