//! What a handler may touch: the transaction that will also finish the batch.

use postgres::Transaction;

use crate::error::Error;

const SAVEPOINT: &str = "pgq_event";

/// The database side of one event. What is written through [`Work::transaction`] commits together
/// with the batch, and is undone when the handler fails.
pub struct Work<'w, 't> {
    transaction: &'w mut Transaction<'t>,
    savepoint: bool,
}

impl<'w, 't> Work<'w, 't> {
    pub(crate) fn new(transaction: &'w mut Transaction<'t>) -> Self {
        Self { transaction, savepoint: false }
    }

    /// The batch's transaction, with a savepoint set at the first use for this event. A handler
    /// that never asks costs no round trip.
    ///
    /// # Errors
    /// [`Error::Lost`] when the connection broke.
    pub fn transaction(&mut self) -> Result<&mut Transaction<'t>, Error> {
        if !self.savepoint {
            self.transaction.batch_execute(&format!("savepoint {SAVEPOINT}"))?;
            self.savepoint = true;
        }
        Ok(self.transaction)
    }

    /// Keep what the handler wrote.
    pub(crate) fn keep(self) -> Result<(), Error> {
        if self.savepoint {
            self.transaction.batch_execute(&format!("release savepoint {SAVEPOINT}"))?;
        }
        Ok(())
    }

    /// Undo what the handler wrote.
    pub(crate) fn undo(self) -> Result<(), Error> {
        if self.savepoint {
            self.transaction.batch_execute(&format!(
                "rollback to savepoint {SAVEPOINT}; release savepoint {SAVEPOINT}"
            ))?;
        }
        Ok(())
    }
}
