//! Where a restore point or the end of a transaction is in the WAL, so that a backup from before it
//! can be chosen.

use std::io::Write;

use crate::backup::info::BackupInfo;
use crate::error::{Error, Result};
use crate::history::History;
use crate::log;
use crate::repo::object;
use crate::repositories::archive::Archive;
use crate::restore::select::candidates;
use crate::restore::target::{Target, Wanted};
use crate::wal::lsn::Lsn;
use crate::wal::name::{Segment, WalName};
use crate::wal::records::{Mark, Records};

/// The position of a target that is none itself; none when no choice depends on it. The WAL after
/// the newest backup is read first, then that between the two newest, until it is found.
///
/// # Errors
/// [`Error::NotFound`] when it is nowhere after a backup.
pub(crate) fn locate(
    archive: &mut Archive<'_>,
    history: &mut History,
    wanted: &Wanted<'_>,
) -> Result<Option<Lsn>> {
    let sought = match wanted.target {
        Target::Name(name) => Mark::Name(name.clone()),
        // The server compares what records have, 32 bits.
        Target::Xid(number) => {
            Mark::Transaction(u32::try_from(number & 0xFFFF_FFFF).expect("32 bits are kept"))
        }
        _ => return Ok(None),
    };
    if wanted.id.is_some() || candidates(history, wanted.line).len() < 2 {
        return Ok(None);
    }
    archive.load_wal(history, 0)?;
    let usable: Vec<&BackupInfo> = candidates(history, wanted.line)
        .into_iter()
        .filter(|backup| history.first_missing(backup).is_none())
        .collect();
    let mut until = u64::MAX;
    for backup in usable.iter().rev() {
        let timeline = wanted.line.of(history, backup);
        log::debug(format_args!("looking for the target after backup {}", backup.id));
        let mut positions = Vec::new();
        let mut reader = Records::new(first_byte(history, backup), |mark, position| {
            if mark == sought {
                positions.push(position);
            }
        });
        read(archive, history, backup, timeline, until, &mut reader)?;
        if let Some(position) = positions.into_iter().find(|at| *at >= backup.stop_lsn) {
            return Ok(Some(position));
        }
        // A backup's own WAL may have it, too: then the one before is the one to take.
        until = backup.stop_segment(history.segment_size).number;
    }
    let what = match wanted.target {
        Target::Name(name) => format!("restore point \"{name}\""),
        Target::Xid(number) => format!("the end of transaction {number}"),
        _ => String::new(),
    };
    Err(Error::NotFound(format!(
        "{what} is not in the archived WAL after any backup on the way; if it is not archived yet, name the backup"
    )))
}

fn first_byte(history: &History, backup: &BackupInfo) -> Lsn {
    let size = u64::from(history.segment_size);
    Lsn(backup.start_segment(history.segment_size).number * size)
}

/// Read the WAL that recovery from a backup would read, up to a segment.
fn read(
    archive: &Archive<'_>,
    history: &History,
    backup: &BackupInfo,
    timeline: u32,
    until: u64,
    to: &mut dyn Write,
) -> Result<()> {
    let end = history.number(history.reach(backup, timeline).end);
    let way = history.timelines.way(timeline);
    let mut number = backup.start_segment(history.segment_size).number;
    while number < end && number <= until {
        let owner = way
            .iter()
            .rfind(|stretch| history.number(stretch.begin) <= number)
            .map_or(timeline, |stretch| stretch.timeline);
        let segment = Segment { timeline: owner, number }.name(history.segment_size);
        let (source, key) = archive.open(&WalName::Segment(segment))?;
        object::read(source.as_ref(), &key, u64::from(history.segment_size), to)?;
        number += 1;
    }
    Ok(())
}
