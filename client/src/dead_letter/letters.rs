//! All letters of a queue, wherever they are: list them, or go through them and decide about each.

use std::time::Duration;

use postgres::{Client, GenericClient};

use super::{DeadLetter, Decision, HOLDER, held, table};
use crate::error::{Error, ServerError};

/// Letters of a queue: those that its consumers gave up and the server keeps, and those that it
/// holds as a dead-letter queue. Needs pgq_reader.
///
/// # Errors
/// [`Error::Server`]: no such queue, or, on a server that keeps none itself, no dead-letter queue
/// (42704).
pub fn list(client: &mut impl GenericClient, queue: &str) -> Result<Vec<DeadLetter>, Error> {
    let held = held::list(client, queue)?;
    match (table::list(client, queue)?, held) {
        (Some(mut kept), held) => {
            kept.extend(held.unwrap_or_default());
            Ok(kept)
        }
        (None, Some(held)) => Ok(held),
        (None, None) => Err(no_dead_queue(queue)),
    }
}

/// Go through all letters of [`list`] and do as `decide` says; how many were not kept. Needs
/// pgq_reader; for those that a dead-letter queue holds pgq_writer, and pgq_admin to replay them.
///
/// Letters that a queue holds must have been ticked to be reached. Those that are not within
/// `patience` stay as they are.
///
/// # Errors
/// [`Error::Server`]: 23505 when an event that a queue holds waits for a retry already, 42501, and
/// those of [`list`].
pub fn sort(
    client: &mut Client,
    queue: &str,
    patience: Duration,
    mut decide: impl FnMut(&DeadLetter) -> Decision,
) -> Result<u64, Error> {
    // It says what is wrong with the queue.
    if list(client, queue)?.is_empty() {
        return Ok(0);
    }
    let is_holder = held::list(client, queue)?.is_some_and(|letters| !letters.is_empty());
    if is_holder {
        held::wait_for_tick(client, queue, patience)?;
    }
    let mut transaction = client.transaction()?;
    let kept = table::list(&mut transaction, queue)?.unwrap_or_default();
    let mut settled = table::settle(&mut transaction, &kept, &mut decide)?;
    if is_holder {
        settled += held::settle(&mut transaction, queue, &mut decide)?;
    }
    transaction.commit()?;
    Ok(settled)
}

pub(super) fn no_dead_queue(dead_queue: &str) -> Error {
    Error::Server(ServerError {
        sqlstate: "42704".to_owned(),
        message: format!("dead-letter queue \"{dead_queue}\" does not exist"),
        detail: None,
        hint: Some(format!("It is one when consumer \"{HOLDER}\" is registered on it.")),
    })
}
