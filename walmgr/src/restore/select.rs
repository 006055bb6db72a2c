//! Which backup to restore, and along which timeline: the newest that leads to the target, or a
//! refusal that says what would work.

use crate::backup::info::BackupInfo;
use crate::error::{Error, Result};
use crate::history::History;
use crate::history::order;
use crate::log::time as shown;
use crate::restore::lead::{falls_short, follow, strays};
use crate::restore::target::{Line, Target, Wanted};
use crate::wal::lsn::Lsn;

/// What to restore.
#[derive(Clone, Debug)]
pub(crate) struct Choice<'a> {
    /// The backup.
    pub(crate) backup: &'a BackupInfo,
    /// The timeline that recovery follows.
    pub(crate) timeline: u32,
    /// The same for `recovery_target_timeline`.
    pub(crate) follow: String,
    /// Where recovery has to stop, just before this position, since the server would go on with WAL
    /// that is not of the timeline.
    pub(crate) stop_before: Option<Lsn>,
    /// Further on along the timeline, WAL is missing.
    pub(crate) has_hole: bool,
    /// What the operator should know.
    pub(crate) notes: Vec<String>,
}

/// The backup to start from: the named one, or the newest that is on the way to the timeline and
/// complete before the target.
///
/// # Errors
/// [`Error::NotFound`] when there is none, or the named one does not lead to the target: both say
/// what would, and both may be otherwise in another repository.
pub(crate) fn select<'a>(history: &'a History, wanted: &Wanted<'_>) -> Result<Choice<'a>> {
    if history.backups.is_empty() {
        return Err(Error::NotFound("there is no backup".to_owned()));
    }
    let mut wanted = wanted.clone();
    if matches!(wanted.line, Line::Primary(number) if !history.has_timeline(number)) {
        // It has just been promoted: the standby hears of its timeline when it connects.
        wanted.line = Line::Latest;
    }
    let wanted = &wanted;
    if let Line::Number(number) = wanted.line
        && !history.has_timeline(number)
    {
        let numbers: Vec<String> = history.numbers().iter().map(u32::to_string).collect();
        let there = numbers.join(", ");
        return Err(Error::NotFound(format!(
            "timeline {number} is not in the archive, which has {there}"
        )));
    }
    let backup = match wanted.id {
        Some(id) => named(history, wanted, id)?,
        None => newest(history, wanted)?,
    };
    let timeline = wanted.line.of(history, backup);
    let mut notes = Vec::new();
    if wanted.id.is_none() {
        notes.extend(passed_over(history, wanted, backup, timeline));
    }
    if let Some(why) = falls_short(history, wanted, backup, timeline) {
        if wanted.id.is_none() && !wanted.standby {
            return Err(Error::NotFound(why));
        }
        notes.push(why);
    }
    let stop_before = strays(history, wanted, backup, timeline)?;
    if let Some(position) = stop_before {
        notes.push(format!(
            "timeline {timeline} has no WAL in the archive yet: recovery ends where it begins, at {position}"
        ));
    }
    let follow = follow(history, wanted, backup, timeline, &mut notes);
    let has_hole = history.reach(backup, timeline).missing.is_some();
    Ok(Choice { backup, timeline, follow, stop_before, has_hole, notes })
}

/// The backups that lead to the timeline, oldest first.
pub(crate) fn candidates(history: &History, wanted: Line) -> Vec<&BackupInfo> {
    match wanted {
        Line::Current => history.backups.iter().collect(),
        Line::Number(number) | Line::Primary(number) => history.chain(number),
        Line::Latest => {
            history.newest_timeline().map_or_else(Vec::new, |newest| history.chain(newest))
        }
    }
}

/// Those of some backups, which are in order, that were complete before the target.
pub(crate) fn before_target<'a>(
    wanted: &Wanted<'_>,
    backups: &[&'a BackupInfo],
) -> Vec<&'a BackupInfo> {
    match (wanted.target, wanted.position) {
        (Target::Time(time), _) => {
            let last = order::complete_at(backups, *time, wanted.now, |_| true);
            let until = backups.iter().take(last.map_or(0, |last| last + 1));
            until.filter(|backup| backup.stop_time <= *time).copied().collect()
        }
        (Target::Lsn(position), _) => complete_before(backups, *position),
        (_, Some(position)) => complete_before(backups, position),
        _ => backups.to_vec(),
    }
}

fn complete_before<'a>(backups: &[&'a BackupInfo], position: Lsn) -> Vec<&'a BackupInfo> {
    backups.iter().filter(|backup| backup.stop_lsn <= position).copied().collect()
}

fn named<'a>(history: &'a History, wanted: &Wanted<'_>, id: &str) -> Result<&'a BackupInfo> {
    let backup = history
        .backups
        .iter()
        .find(|backup| backup.id == id)
        .ok_or_else(|| Error::NotFound(format!("backup \"{id}\" does not exist")))?;
    if backup.standalone && *wanted.target != Target::Immediate {
        return Err(Error::NotFound(format!(
            "the WAL after backup {id} was expired: it restores to its own end only (--immediate)"
        )));
    }
    let timeline = wanted.line.of(history, backup);
    if !history.leads(backup, timeline) {
        return Err(Error::NotFound(format!(
            "{}; --timeline {} restores it",
            off_the_way(history, backup, timeline),
            backup.timeline
        )));
    }
    let wrong_clock = backup.stop_time > wanted.now && matches!(wanted.target, Target::Time(_));
    if !wrong_clock && before_target(wanted, &[backup]).is_empty() {
        return Err(Error::NotFound(format!(
            "backup {id} was complete only after the target: at {}, {}",
            backup.stop_lsn,
            shown(backup.stop_time)
        )));
    }
    Ok(backup)
}

fn newest<'a>(history: &'a History, wanted: &Wanted<'_>) -> Result<&'a BackupInfo> {
    let candidates = candidates(history, wanted.line);
    let mut usable = before_target(wanted, &candidates);
    let alone = usable.last().copied().filter(|backup| backup.standalone);
    if *wanted.target != Target::Immediate {
        usable.retain(|backup| !backup.standalone);
    }
    // A backup of damaged pages is better than none, and only then.
    if let Some(best) = history.best(&usable) {
        return match history.first_missing(best) {
            None => Ok(best),
            Some(segment) => Err(Error::NotFound(format!(
                "backup {} cannot be restored: segment {}, which it needs, is missing in the archive",
                best.id,
                segment.name(history.segment_size)
            ))),
        };
    }
    if let Some(backup) = alone {
        return Err(Error::NotFound(format!(
            "the WAL to get to the target was expired; backup {}, complete at {}, {}, is the last before it, \
             and restores to its own end only: name it, with --immediate",
            backup.id,
            backup.stop_lsn,
            shown(backup.stop_time)
        )));
    }
    let all: Vec<&BackupInfo> = history.backups.iter().collect();
    let elsewhere = before_target(wanted, &all)
        .into_iter()
        .rfind(|backup| !backup.standalone && history.first_missing(backup).is_none());
    let way = match wanted.line {
        Line::Current => String::new(),
        _ => {
            let to = all.last().map_or(0, |any| wanted.line.of(history, any));
            format!(" on the way to timeline {to}")
        }
    };
    Err(Error::NotFound(match (elsewhere, candidates.first()) {
        (Some(other), _) => format!(
            "no backup{way} was complete before the target; {} on timeline {}, complete at {}, {}, \
             was: --timeline {} restores it",
            other.id,
            other.timeline,
            other.stop_lsn,
            shown(other.stop_time),
            other.timeline
        ),
        (None, Some(first)) => format!(
            "no backup{way} was complete before the target; the first, {}, was at {}, {}",
            first.id,
            first.stop_lsn,
            shown(first.stop_time)
        ),
        (None, None) => format!("there is no backup{way}"),
    }))
}

/// A newer backup that would have been taken if it were on the way.
fn passed_over(
    history: &History,
    wanted: &Wanted<'_>,
    chosen: &BackupInfo,
    timeline: u32,
) -> Option<String> {
    let all: Vec<&BackupInfo> = history.backups.iter().collect();
    let newer = all.iter().skip_while(|backup| backup.id != chosen.id).skip(1).copied();
    let newer: Vec<&BackupInfo> = newer.filter(|backup| !history.leads(backup, timeline)).collect();
    let other = before_target(wanted, &newer).into_iter().next_back()?;
    Some(format!(
        "{}; --timeline {} restores that one",
        off_the_way(history, other, timeline),
        other.timeline
    ))
}

fn off_the_way(history: &History, backup: &BackupInfo, timeline: u32) -> String {
    let left = history.timelines.way(timeline).into_iter().find_map(|stretch| {
        let end = stretch.end?;
        (stretch.timeline == backup.timeline).then(|| format!(", which left it at {end}"))
    });
    format!(
        "backup {} (timeline {}, complete at {}, {}) is not on the way to timeline {timeline}{}",
        backup.id,
        backup.timeline,
        backup.stop_lsn,
        shown(backup.stop_time),
        left.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::{Line, Target, Wanted, select};
    use crate::error::Error;
    use crate::expire::retention::tests::{at, backup};
    use crate::history::History;
    use crate::history::runs::Runs;
    use crate::history::timelines::Timelines;
    use crate::wal::history::Ancestor;
    use crate::wal::lsn::Lsn;

    /// Backups at segments 2 and 6 of timeline 1, which 2 left in segment 4; a third at 9 on 2.
    fn history(third: bool) -> History {
        let timelines = Timelines::new([(2, vec![Ancestor { timeline: 1, end: Lsn(450) }])]);
        let mut backups = vec![backup(1, 1, 200), backup(2, 1, 600)];
        if third {
            backups.push(backup(3, 2, 900));
        }
        let mut wal = Runs::default();
        wal.set(1, 1..=7);
        wal.set(2, 4..=10);
        History::new(100, timelines, backups, wal)
    }

    fn wanted<'a>(target: &'a Target, line: Line) -> Wanted<'a> {
        Wanted { id: None, target, position: None, line, standby: false, now: at(99) }
    }

    /// Id of the backup, and what the server is told to follow.
    fn chosen(history: &History, wanted: &Wanted<'_>) -> Result<(String, String), Error> {
        select(history, wanted).map(|choice| (choice.backup.id.clone(), choice.follow))
    }

    #[test]
    fn the_newest_on_the_way_is_taken() {
        let chosen = |third, target: Target, line| {
            let (id, follow) = chosen(&history(third), &wanted(&target, line)).unwrap();
            format!("{id} {follow}")
        };
        assert_eq!(chosen(false, Target::End, Line::Latest), "0001 latest");
        assert_eq!(chosen(true, Target::End, Line::Latest), "0003 latest");
        assert_eq!(chosen(true, Target::End, Line::Number(1)), "0002 1");
        assert_eq!(chosen(false, Target::End, Line::Current), "0002 current");
        assert_eq!(chosen(true, Target::Time(at(2)), Line::Latest), "0001 latest");
        assert_eq!(chosen(true, Target::Lsn(Lsn(900)), Line::Latest), "0001 latest");
        assert_eq!(chosen(true, Target::Lsn(Lsn(910)), Line::Latest), "0003 latest");
    }

    #[test]
    fn a_refusal_says_what_would_work() {
        let history = history(false);
        let refused = |wanted: &Wanted<'_>| select(&history, wanted).unwrap_err().to_string();
        let end = wanted(&Target::End, Line::Latest);
        let text = refused(&Wanted { id: Some("0002"), ..end.clone() });
        assert!(text.contains("left it at 0/1C2; --timeline 1 restores it"), "{text}");
        let text = refused(&Wanted { line: Line::Number(7), ..end });
        assert!(text.contains("timeline 7 is not in the archive, which has 1, 2"), "{text}");
        let before = Target::Lsn(Lsn(5));
        let text = refused(&wanted(&before, Line::Latest));
        assert!(text.contains("the first, 0001, was at 0/D2"), "{text}");
        // Only the first timeline has had a backup before that position.
        let mut other = history.clone();
        other.backups.remove(0);
        let target = Target::Lsn(Lsn(700));
        let text = select(&other, &wanted(&target, Line::Latest)).unwrap_err().to_string();
        assert!(text.contains("0002 on timeline 1") && text.contains("--timeline 1"), "{text}");
    }

    #[test]
    fn a_hole_on_the_way_is_a_refusal_but_for_what_lies_before_it() {
        let mut history = history(false);
        history.wal.set(2, [4, 5, 8]);
        let text = select(&history, &wanted(&Target::End, Line::Latest)).unwrap_err().to_string();
        assert!(text.contains("000000020000000000000006") && text.contains("0/258"), "{text}");
        assert!(select(&history, &wanted(&Target::Lsn(Lsn(599)), Line::Latest)).is_ok());
        assert!(select(&history, &wanted(&Target::Immediate, Line::Latest)).is_ok());
        let named = Wanted { id: Some("0001"), ..wanted(&Target::End, Line::Latest) };
        assert_eq!(select(&history, &named).unwrap().notes.len(), 1);
    }

    #[test]
    fn a_backup_whose_later_wal_was_expired_restores_to_its_own_end_only() {
        let mut history = history(true);
        history.backups[0].standalone = true;
        history.wal.set(1, 2..=2);
        history.wal.set(2, 9..=10);
        let at = |time| Target::Time(at(time));
        let (end, between) = (Target::End, at(2));
        assert_eq!(chosen(&history, &wanted(&end, Line::Latest)).unwrap().0, "0003");
        let text = select(&history, &wanted(&between, Line::Latest)).unwrap_err().to_string();
        assert!(text.contains("backup 0001") && text.contains("--immediate"), "{text}");
        let named = |target| Wanted { id: Some("0001"), ..wanted(target, Line::Latest) };
        let text = select(&history, &named(&between)).unwrap_err().to_string();
        assert!(text.contains("--immediate"), "{text}");
        let choice = select(&history, &named(&Target::Immediate)).unwrap();
        // The server must not read ahead into what is not there.
        assert!(choice.has_hole && choice.backup.id == "0001");
        // The cut is no hole.
        history.backups[1].start_lsn = Lsn(600);
        history.wal.set(1, [2, 6, 7]);
        assert!(history.gaps(1).is_empty());
        history.backups[0].standalone = false;
        assert_eq!(history.gaps(1).len(), 1);
    }

    #[test]
    fn a_server_that_would_stray_onto_the_older_timeline_is_stopped_at_the_branch() {
        let mut history = history(false);
        history.wal.set(2, []);
        let end = wanted(&Target::End, Line::Latest);
        assert_eq!(select(&history, &end).unwrap().stop_before, Some(Lsn(450)));
        assert!(select(&history, &Wanted { standby: true, ..end }).is_err());
        let time = Target::Time(at(50));
        let text = select(&history, &wanted(&time, Line::Latest)).unwrap_err().to_string();
        assert!(text.contains("--to-lsn 0/1C2 --exclusive"), "{text}");
        let before = Target::Lsn(Lsn(400));
        assert_eq!(select(&history, &wanted(&before, Line::Latest)).unwrap().stop_before, None);
        // Nothing to stray to.
        history.wal.set(1, 1..=3);
        let end = wanted(&Target::End, Line::Latest);
        assert_eq!(select(&history, &end).unwrap().stop_before, None);
    }

    #[test]
    fn a_number_without_history_is_not_asked_for() {
        // Nobody archived 2.history, so the server's own search for the latest would end at 1.
        let histories = [(3, vec![Ancestor { timeline: 1, end: Lsn(450) }])];
        let mut wal = Runs::default();
        wal.set(1, 1..=4);
        wal.set(3, 4..=5);
        wal.set(9, 1..=5);
        let backups = vec![backup(1, 1, 200), backup(2, 9, 200)];
        let history = History::new(100, Timelines::new(histories), backups, wal);
        let end = Target::End;
        let follow = |line| chosen(&history, &wanted(&end, line)).unwrap();
        assert_eq!(follow(Line::Number(3)), ("0001".to_owned(), "3".to_owned()));
        assert_eq!(follow(Line::Latest), ("0002".to_owned(), "latest".to_owned()));
        assert_eq!(follow(Line::Number(9)), ("0002".to_owned(), "current".to_owned()));
    }
}
