//! Whether recovery from a backup gets to its target, where it would go astray, and what to tell
//! the server to follow.

use crate::backup::info::BackupInfo;
use crate::error::{Error, Result};
use crate::history::History;
use crate::restore::target::{Line, Target, Wanted};
use crate::wal::lsn::Lsn;

/// Why recovery from the backup would not get to its target, and what would work.
pub(super) fn falls_short(
    history: &History,
    wanted: &Wanted<'_>,
    backup: &BackupInfo,
    timeline: u32,
) -> Option<String> {
    let reach = history.reach(backup, timeline);
    // Recovery ends with a record that begins there or later.
    let beyond = |position: Lsn| position >= reach.end;
    let position = wanted.place();
    if *wanted.target == Target::Immediate || position.is_some_and(|position| !beyond(position)) {
        return None;
    }
    let elsewhere = position.and_then(|position| {
        history.numbers().into_iter().rev().filter(|other| *other != timeline).find(|other| {
            let chain = history.chain(*other);
            chain.iter().any(|backup| {
                let reach = history.reach(backup, *other);
                backup.stop_lsn <= position && position < reach.end
            })
        })
    });
    let hint = elsewhere.map_or_else(String::new, |other| {
        format!("; timeline {other} has it (--timeline {other})")
    });
    match (reach.missing, position) {
        (Some(segment), _) => {
            let hint = if hint.is_empty() && !wanted.standby && wanted.id.is_none() {
                format!(
                    "; what is before that can be restored with a target, or by naming backup {}",
                    backup.id
                )
            } else {
                hint
            };
            Some(format!(
                "segment {} is missing in the archive, so recovery from backup {} ends at {}{hint}",
                segment.name(history.segment_size),
                backup.id,
                reach.end
            ))
            .filter(|_| matches!(wanted.target, Target::End | Target::Lsn(_)) || position.is_some())
        }
        (None, Some(position)) if elsewhere.is_some() => Some(format!(
            "{position} is not in the archive on the way to timeline {timeline}, which ends at {}{hint}",
            reach.end
        )),
        _ => None,
    }
}

/// Where the older timeline has to be left. A server that does not find the first segment of the
/// newer one replays the older one's instead, past the branch, and what it has then never was on
/// either.
pub(super) fn strays(
    history: &History,
    wanted: &Wanted<'_>,
    backup: &BackupInfo,
    timeline: u32,
) -> Result<Option<Lsn>> {
    let reach = history.reach(backup, timeline);
    let Some(older) = reach.stray else { return Ok(None) };
    let position = wanted.place();
    let why = format!(
        "the first segment of the timeline that left timeline {older} at {} is not in the archive, and the server would follow timeline {older}",
        reach.end
    );
    match wanted.target {
        _ if wanted.standby => Err(Error::NotFound(format!(
            "{why}; once the primary has archived it (select pg_switch_wal()), it works"
        ))),
        Target::Immediate => Ok(None),
        Target::End => Ok(Some(reach.end)),
        _ if position.is_some_and(|position| position < reach.end) => Ok(None),
        _ => Err(Error::NotFound(format!(
            "{why}; --to-lsn {} --exclusive restores to there",
            reach.end
        ))),
    }
}

/// What to set `recovery_target_timeline` to.
pub(super) fn follow(
    history: &History,
    wanted: &Wanted<'_>,
    backup: &BackupInfo,
    timeline: u32,
    notes: &mut Vec<String>,
) -> String {
    let exact = if backup.timeline == timeline && !history.timelines.is_known(timeline) {
        // The server wants a history file for a number.
        "current".to_owned()
    } else {
        timeline.to_string()
    };
    match wanted.line {
        Line::Current => "current".to_owned(),
        Line::Number(_) => exact,
        Line::Latest | Line::Primary(_) => {
            let latest = history.timelines.servers_latest(backup.timeline);
            if latest == timeline {
                return "latest".to_owned();
            }
            if wanted.standby {
                notes.push(format!(
                    "the standby keeps to timeline {timeline} and does not follow a later promotion: \
                     the newest in the archive is {latest}"
                ));
            }
            exact
        }
    }
}
