//! The worker's slot in shared memory: taken when the process starts, left however it ends.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use pgq_ticker_core::state::State;

use super::{ALONE, maintenance};
use crate::shared::{Database, Shared};
use pgq_pg::process;
use pgq_pg::session::Failure;
use pgq_pg::{limit, report};

/// The slot of this process, for [`leave`].
static SLOT: OnceLock<(Shared, &'static Database)> = OnceLock::new();

/// Take the slot that the argument of the process names, until the process ends.
pub(super) fn take(argument: usize) -> Option<(Shared, &'static Database)> {
    let (shared, slot) = place(argument)?;
    let _ = SLOT.set((shared, slot));
    process::at_exit(leave);
    Some((shared, slot))
}

/// The memory this worker works with: the server's, or, without preload, its own.
fn place(argument: usize) -> Option<(Shared, &'static Database)> {
    if let Some(shared) = Shared::get() {
        return Some((shared, shared.databases.get(argument)?));
    }
    let oid = u32::try_from(argument.checked_sub(ALONE)?).ok()?;
    let shared = Shared::alone(oid);
    Some((shared, shared.databases.first()?))
}

// Runs however the process ends. Whoever did not say why it ends has failed.
fn leave() {
    let Some((shared, slot)) = SLOT.get() else { return };
    if limit::has_overrun() {
        maintenance::note_overrun(shared, slot);
    }
    if matches!(slot.state(), State::Starting | State::Running) {
        slot.set_state(State::Failed, process::timestamp());
    }
    slot.set_worker(None, 0);
    shared.wake_waiters(slot.oid(), None);
    shared.wake_launcher();
}

/// End, and let the slot say why.
pub(super) fn end(slot: &Database, state: State) -> ! {
    slot.set_state(state, process::timestamp());
    process::exit(0)
}

/// End because of an error, which SQL shows.
pub(super) fn fail(slot: &Database, failure: &Failure) -> ! {
    slot.error.store(&failure.message);
    slot.error_at.store(process::timestamp(), Ordering::SeqCst);
    report::warning(&format!("pgq worker cannot work: {}", failure.message));
    end(slot, State::Failed)
}
