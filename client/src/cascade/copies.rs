//! The copiers that run in this process, a thread each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::claim::Right;
use super::copier::Copier;
use super::settings::CascadeSettings;
use crate::session::Session;
use crate::stop::Stop;

/// Copiers that outlive a worker, with the right to work: with the same ones the next worker goes
/// on, when settings are read again. They stop with the last handle.
#[derive(Clone, Debug, Default)]
pub struct CascadeCopies(Arc<Mutex<Running>>);

/// Copiers by table.
#[derive(Debug, Default)]
struct Running {
    /// Those of the worker that has them.
    settings: Option<CascadeSettings>,
    /// Between two workers, the right to work: whoever waits for it would end the copies. It goes
    /// with its session, also where the server does not answer.
    right: Option<(Session, Right)>,
    copiers: BTreeMap<String, (Stop, JoinHandle<()>)>,
}

impl CascadeCopies {
    /// A worker with these settings takes them over. Those of another node are of no use to it, and
    /// those that connect in another way are to begin again.
    pub(super) fn belong_to(&self, settings: &CascadeSettings) {
        let mut running = self.lock();
        if running.settings.as_ref().is_none_or(|before| !before.connect_like(settings)) {
            running.stop();
            running.right = None;
        }
        running.settings = Some(settings.clone());
    }

    /// A worker that ends leaves its right to the next.
    pub(super) fn leave(&self, session: Session, right: Right) {
        self.lock().right = Some((session, right));
    }

    /// The right that the worker before has left, with the session that has it.
    pub(super) fn take_right(&self) -> Option<(Session, Right)> {
        self.lock().right.take()
    }

    /// See to it that a table has a copier.
    pub(super) fn ensure(&self, settings: &CascadeSettings, worker: &str, table: &str) {
        let mut running = self.lock();
        if running.copiers.get(table).is_some_and(|(_, thread)| !thread.is_finished()) {
            return;
        }
        let stop = Stop::new();
        let mut copier = Copier::new(settings.clone(), worker, table, stop.clone());
        let thread =
            std::thread::Builder::new().name(format!("copy {table}")).spawn(move || copier.run());
        match thread {
            Ok(thread) => {
                running.copiers.insert(table.to_owned(), (stop, thread));
            }
            Err(error) => log::error!("no thread to copy table \"{table}\": {error}"),
        }
    }

    /// Stop them all; what they have not committed comes again.
    pub(super) fn stop(&self) {
        self.lock().stop();
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn stop(&mut self) {
        for (stop, _) in self.copiers.values() {
            stop.now();
        }
        for (table, (_, thread)) in std::mem::take(&mut self.copiers) {
            if thread.join().is_err() {
                log::error!("the copier of table \"{table}\" has panicked");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
