//! What the store keeps for longer than the rules do: it stays until a later run.

use crate::error::Result;
use crate::expire::retention::Kept;
use crate::history::History;
use crate::log;
use crate::log::count;
use crate::repo::stanza::Stanza;

/// How many names are listed at most.
const LISTED: usize = 20;

/// Keep the backups that are locked, with all they need.
///
/// # Errors
/// Those of the store.
pub(crate) fn keep(
    stanza: &Stanza,
    history: &History,
    decisions: &mut [Option<Kept>],
) -> Result<()> {
    let decided = history.backups.iter().zip(decisions);
    for (backup, kept) in decided.filter(|(_, kept)| kept.is_none()) {
        let key = stanza.key(&format!("backup/{}.json", backup.id));
        if let Some(until) = stanza.store.retained(&key)? {
            log::notice(format_args!("backup {} stays: it is locked until {until}", backup.id));
            *kept = Some(Kept::ByRule);
        }
    }
    Ok(())
}

/// Remove what is not locked, and list the rest; how many were removed.
///
/// # Errors
/// Those of the store.
pub(crate) fn remove(stanza: &Stanza, keys: &[String]) -> Result<usize> {
    let locked = stanza.store.remove_all(keys)?;
    for key in locked.iter().take(LISTED) {
        log::notice(format_args!("{key} stays: it is locked"));
    }
    if locked.len() > LISTED {
        let more = count(locked.len() - LISTED, "more locked object");
        log::notice(format_args!("{more} stay"));
    }
    Ok(keys.len() - locked.len())
}
