//! Workers of replication, for nodes of this database.

use super::Worker;
use crate::cascade::crew::Keeper;

impl Worker {
    /// Start and end workers of replication, which a table may ask for.
    pub(super) fn keep_cascades(&mut self, wishes: Option<u32>) {
        let mut cascades = std::mem::replace(&mut self.cascades, Keeper::new());
        let now = self.began.elapsed();
        cascades
            .look((&self.shared, self.slot), wishes, now, |read| self.in_transaction(None, read));
        self.cascades = cascades;
    }
}
