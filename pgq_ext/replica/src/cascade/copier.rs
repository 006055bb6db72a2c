//! What a table's copier asks and notes, so that two of them by mistake cannot undo each other's
//! work. The consumer's row is locked first, then the table's.

use super::calls::{self, Position};
use super::execute;
use super::tables::{self, State, Table};
use crate::session::Session;

/// Does the copier apply the table's changes, since rows are copied?
pub fn follows(table: &Table) -> bool {
    !matches!(table.state, State::Missing | State::InCopy | State::Ok)
}

/// Can the table be copied to a node that has applied all up to this tick? The provider has to have
/// all rows, and the node to have run the scripts that made the provider's table what it is: else
/// they would be run once more on what they have made, or the copy would lack a column that comes
/// with one. To be asked under the snapshot of the copy, too.
///
/// # Errors
/// The session's.
pub fn is_ready<S: Session>(
    provider: &mut S,
    queue: &str,
    table: &Table,
    completed: i64,
) -> Result<bool, S::Error> {
    Ok(tables::source(provider, queue, &table.name)?.is_some()
        && !execute::are_ahead(provider, queue, completed)?)
}

/// Note where the copier begins, in the transaction that copies the rows, or in one before it so
/// that it is known where to unregister. Another process that copies the table, or applies its
/// changes, is waited for. False when it has done so: the table is not as it was read.
///
/// # Errors
/// As [`calls::register`].
pub fn begin<S: Session>(
    local: &mut S,
    queue: &str,
    consumer: &str,
    table: &Table,
    position: &Position,
) -> Result<bool, S::Error> {
    calls::register(local, queue, consumer, position)?;
    table.is_as_read(local, queue)
}

/// Change the table's state, unless another process has changed it, or the copier's position, since
/// they were read. False then. In a transaction.
///
/// # Errors
/// As [`Table::change_state`].
pub fn change<S: Session>(
    local: &mut S,
    queue: &str,
    consumer: &str,
    table: &Table,
    position: Option<&Position>,
    to: State,
) -> Result<bool, S::Error> {
    Ok(calls::lock_position(local, queue, consumer)?.as_ref() == position
        && table.change_state(local, queue, to, None)?)
}
