//! Whether a table's triggers tell of every change of its rows.

use pgrx::pg_sys;

use super::function::{self, Entry};
use super::{constants, ports};

/// True when each row that is inserted, updated or deleted, and each TRUNCATE, calls the C function
/// at once, whoever does it: the triggers are enabled ALWAYS, so also under
/// `session_replication_role = replica`, and fire per row, which is what a logical subscription
/// does, too.
///
/// To disable, drop or alter a trigger invalidates the table; to replace its function changes the
/// number of [`super::watch::of_functions`].
pub fn reports_all(table: pg_sys::Oid, entry: Entry) -> bool {
    const FOR_ROWS: [u32; 3] =
        [pg_sys::TRIGGER_TYPE_INSERT, pg_sys::TRIGGER_TYPE_UPDATE, pg_sys::TRIGGER_TYPE_DELETE];
    // SAFETY: opens by oid; a missing relation gives null.
    let relation = unsafe { pg_sys::try_relation_open(table, constants::lock::ACCESS_SHARE) };
    if relation.is_null() {
        return false;
    }
    // SAFETY: the relation is open.
    let (kind, triggers) = unsafe { ((*(*relation).rd_rel).relkind, (*relation).trigdesc) };
    // Copied out at once: the look-ups below may take the description away.
    let candidates: Vec<(pg_sys::Oid, u32)> = if triggers.is_null() {
        Vec::new()
    } else {
        // SAFETY: a description of the open relation, with as many triggers as it says.
        let triggers = unsafe {
            let count = ports::count((*triggers).numtriggers);
            std::slice::from_raw_parts((*triggers).triggers, count)
        };
        triggers
            .iter()
            .filter(|trigger| is_unconditional(trigger))
            .map(|trigger| (trigger.tgfoid, u32::from(trigger.tgtype.cast_unsigned())))
            .collect()
    };
    // SAFETY: opened above; the lock stays until the transaction ends, as a query's would.
    unsafe { pg_sys::relation_close(relation, 0) };
    let reporting: Vec<u32> = candidates
        .into_iter()
        .filter(|(function, _)| function::is_own(*function, entry))
        .map(|(_, events)| events)
        .collect();
    let has = |bits: u32| reporting.iter().any(|events| events & bits == bits);
    u8::try_from(kind) == Ok(pg_sys::RELKIND_RELATION)
        && FOR_ROWS.iter().all(|event| has(pg_sys::TRIGGER_TYPE_ROW | event))
        && has(pg_sys::TRIGGER_TYPE_TRUNCATE)
}

fn is_unconditional(trigger: &pg_sys::Trigger) -> bool {
    u8::try_from(trigger.tgenabled) == Ok(b'A')
        && !trigger.tgdeferrable
        && trigger.tgqual.is_null()
        && trigger.tgnattr == 0
}
