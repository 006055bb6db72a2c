//! Random histories, and a server that recovers by brute force to hold the model against.
//!
//! A world knows every byte that was ever written. Its server chooses files as PostgreSQL does and
//! replays them one byte after the other.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "small numbers of a test convert"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use crate::backup::info::BackupInfo;
use crate::backup::pin::Pin;
use crate::expire::retention::{self, Kept, Rules, tests::backup};
use crate::expire::tiers::Tiers;
use crate::expire::unneeded::Needs;
use crate::history::History;
use crate::history::runs::Runs;
use crate::history::timelines::Timelines;
use crate::restore::select::select;
use crate::restore::target::{Line, Target, Wanted};
use crate::wal::history;
use crate::wal::lsn::Lsn;
use crate::wal::name::Segment;

const SIZE: u32 = 4;

/// What happened, step by step.
#[derive(Clone, Debug)]
enum Step {
    /// A server writes some bytes.
    Write(usize, usize),
    /// A server is backed up.
    Backup(usize),
    /// Somebody recovers along a server's timeline, to this many hundredths of its WAL, and becomes
    /// a server beside the others.
    Branch(usize, usize),
    /// The clock goes somewhere.
    Clock(i64),
    /// A backup is of damaged pages.
    Damage(usize),
    /// An archived segment is lost.
    Lose(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => ((0_usize..12), 1_usize..14).prop_map(|(server, bytes)| Step::Write(server, bytes)),
        4 => (0_usize..12).prop_map(Step::Backup),
        3 => ((0_usize..12), prop_oneof![Just(100), 0_usize..100])
            .prop_map(|(s, at)| Step::Branch(s, at)),
        2 => (-50_i64..200).prop_map(Step::Clock),
        1 => (0_usize..12).prop_map(Step::Damage),
        1 => (0_usize..12).prop_map(Step::Lose),
    ];
    prop::collection::vec(step, 1..40)
}

/// Every byte that was written, and what became of it.
#[derive(Debug, Default)]
struct World {
    /// The WAL of each timeline with all it inherited. No byte is like another.
    wal: BTreeMap<u32, Vec<u64>>,
    /// Lines of each history file, as the server writes them.
    files: BTreeMap<u32, Vec<(u32, usize)>>,
    archive: BTreeSet<(u32, usize)>,
    backups: Vec<BackupInfo>,
    clock: i64,
    next_byte: u64,
    /// False once the archive lost something.
    is_whole: bool,
}

impl World {
    fn new(steps: &[Step]) -> Self {
        let mut world = Self { clock: 100, is_whole: true, ..Self::default() };
        world.wal.insert(1, Vec::new());
        for step in steps {
            world.step(step);
        }
        world
    }

    fn pick(&self, server: usize) -> u32 {
        *self.wal.keys().nth(server % self.wal.len()).unwrap()
    }

    fn step(&mut self, step: &Step) {
        self.clock += 1;
        match *step {
            Step::Write(server, bytes) => self.write(self.pick(server), bytes),
            Step::Backup(server) => {
                let timeline = self.pick(server);
                let start = self.wal[&timeline].len();
                self.write(timeline, 2);
                let stop = self.wal[&timeline].len();
                // The end of a backup finishes its segment.
                self.write(timeline, (SIZE as usize - stop % SIZE as usize) % SIZE as usize);
                let mut info = backup(self.clock, timeline, start as u64);
                info.stop_lsn = Lsn(stop as u64);
                info.id = format!("{}-{}", self.clock, self.backups.len());
                self.backups.push(info);
            }
            Step::Branch(server, hundredths) => {
                let parent = self.pick(server);
                let timeline = self.wal.len() as u32 + 1;
                let end = self.wal[&parent].len() * hundredths / 100;
                let mut lines = self.files.get(&parent).cloned().unwrap_or_default();
                lines.push((parent, end));
                self.files.insert(timeline, lines);
                self.wal.insert(timeline, self.wal[&parent][..end].to_vec());
            }
            Step::Clock(hours) => self.clock = (self.clock + hours).max(1),
            Step::Damage(which) => {
                let count = self.backups.len().max(1);
                if let Some(backup) = self.backups.get_mut(which % count) {
                    backup.damaged_pages.push("x".to_owned());
                }
            }
            Step::Lose(which) => {
                let count = self.archive.len().max(1);
                if let Some(segment) = self.archive.iter().nth(which % count).copied() {
                    self.archive.remove(&segment);
                    self.is_whole = false;
                }
            }
        }
    }

    fn write(&mut self, timeline: u32, bytes: usize) {
        let wal = self.wal.get_mut(&timeline).unwrap();
        for _ in 0..bytes {
            wal.push(self.next_byte);
            self.next_byte += 1;
            if wal.len().is_multiple_of(SIZE as usize) {
                self.archive.insert((timeline, wal.len() / SIZE as usize - 1));
            }
        }
    }

    fn history(&self) -> History {
        let histories = self.files.iter().map(|(timeline, lines)| {
            let text: String =
                lines.iter().map(|(parent, end)| format!("{parent}\t0/{end:X}\tx\n")).collect();
            (*timeline, history::parse(*timeline, &text).unwrap())
        });
        let mut wal = Runs::default();
        for timeline in self.wal.keys() {
            let numbers = self.archive.iter().filter(|(of, _)| of == timeline);
            wal.set(*timeline, numbers.map(|(_, number)| *number as u64));
        }
        History::new(SIZE, Timelines::new(histories), self.backups.clone(), wal)
    }

    /// True when the backup is of bytes that the timeline has, too.
    fn leads(&self, backup: &BackupInfo, to: u32) -> bool {
        let stop = backup.stop_lsn.0 as usize;
        self.wal[&to].get(..stop) == self.wal[&backup.timeline].get(..stop)
    }

    /// What a server that starts from the backup and follows a timeline has replayed in the end.
    fn recover(&self, backup: &BackupInfo, to: u32) -> Vec<u64> {
        let mut entries =
            vec![(to, self.files.get(&to).map_or(0, |lines| lines.last().unwrap().1))];
        let lines = self.files.get(&to).cloned().unwrap_or_default();
        for at in (0..lines.len()).rev() {
            entries.push((lines[at].0, if at == 0 { 0 } else { lines[at - 1].1 }));
        }
        let size = SIZE as usize;
        let mut replayed = self.wal[&backup.timeline][..backup.start_lsn.0 as usize].to_vec();
        let mut current = 0;
        loop {
            let number = replayed.len() / size;
            let file = entries.iter().find(|(timeline, begin)| {
                number >= begin / size
                    && *timeline >= current
                    && self.archive.contains(&(*timeline, number))
            });
            let Some((timeline, _)) = file else { return replayed };
            current = *timeline;
            replayed.extend(&self.wal[timeline][replayed.len()..(number + 1) * size]);
        }
    }

    /// True when such a server gets to the end of the backup as it was.
    fn is_consistent(&self, backup: &BackupInfo, to: u32) -> bool {
        let stop = backup.stop_lsn.0 as usize;
        let replayed = self.recover(backup, to);
        replayed.len() >= stop && replayed.get(..stop) == self.wal[&backup.timeline].get(..stop)
    }

    /// The archive after an expire.
    fn expired(&self, history: &History, decisions: &[Option<Kept>]) -> Self {
        let needs = Needs::new(history, decisions);
        let is_needed = |(timeline, number): &(u32, usize)| {
            needs.segment(Segment { timeline: *timeline, number: *number as u64 })
        };
        let kept = history.backups.iter().zip(decisions).filter(|(_, kept)| kept.is_some());
        Self {
            wal: self.wal.clone(),
            files: self.files.clone(),
            archive: self.archive.iter().filter(|segment| is_needed(segment)).copied().collect(),
            backups: kept
                .map(|(backup, _)| {
                    let cut = needs.standalone().contains(&backup.id.as_str());
                    BackupInfo { standalone: cut || backup.standalone, ..backup.clone() }
                })
                .collect(),
            ..Self::default()
        }
    }

    /// How far into a timeline's WAL one gets from any backup.
    fn furthest(&self, history: &History, to: u32) -> Option<Lsn> {
        let good = self.backups.iter().filter(|backup| self.leads(backup, to));
        good.filter(|backup| history.is_good(backup))
            .map(|backup| history.reach(backup, to).end)
            .max()
    }
}

fn at(hours: i64) -> Timestamp {
    Timestamp::from_second(hours * 3600).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_model_says_what_a_server_does(steps in steps()) {
        let world = World::new(&steps);
        let history = world.history();
        for backup in &history.backups {
            for to in world.wal.keys().copied() {
                prop_assert_eq!(history.leads(backup, to), world.leads(backup, to));
                if !history.leads(backup, to) {
                    continue;
                }
                let reach = history.reach(backup, to);
                let replayed = world.recover(backup, to);
                let end = reach.end.0 as usize;
                let consistent = world.is_consistent(backup, to);
                let is_whole = history.first_missing(backup).is_none();
                // A timeline that branched off in the backup's last segment may have its bytes,
                // too.
                prop_assert!(consistent == is_whole || (consistent && to != backup.timeline));
                if !consistent {
                    continue;
                }
                if reach.stray.is_some() {
                    // The server does not stop there, but what it has is right up to there.
                    prop_assert!(replayed.len() >= end);
                } else {
                    prop_assert_eq!(replayed.len(), end);
                }
                prop_assert_eq!(replayed.get(..end), world.wal[&to].get(..end));
                if world.is_whole {
                    prop_assert_eq!(reach.missing, None);
                }
            }
        }
    }

    #[test]
    fn the_newest_backup_on_the_way_is_chosen_whatever_the_clock_says(
        steps in steps(), cut in 0_usize..100,
    ) {
        let world = World::new(&steps);
        let history = world.history();
        let newest = *world.wal.keys().next_back().unwrap();
        let limit = Lsn((world.wal[&newest].len() * cut / 100) as u64);
        for target in [Target::Immediate, Target::Lsn(limit)] {
            let wanted = Wanted {
                id: None, target: &target, position: None, line: Line::Latest, standby: true,
                now: at(world.clock),
            };
            let fits = |backup: &&BackupInfo| {
                world.leads(backup, newest)
                    && (target == Target::Immediate || backup.stop_lsn <= limit)
            };
            let best = |good: bool| {
                let whole = |backup: &BackupInfo| world.is_consistent(backup, backup.timeline);
                world.backups.iter().filter(fits)
                    .filter(|backup| whole(backup) && (!good || backup.damaged_pages.is_empty()))
                    .max_by_key(|backup| backup.stop_lsn)
            };
            let expected = best(true).or_else(|| best(false));
            let chosen = select(&history, &wanted);
            match expected {
                // No standby is made that would stray onto another timeline.
                Some(expected) if history.reach(expected, newest).stray.is_some() => {}
                Some(expected) => prop_assert_eq!(&chosen.unwrap().backup.id, &expected.id),
                None => prop_assert!(chosen.is_err()),
            }
        }
    }

    #[test]
    fn expire_never_takes_away_what_can_be_reached(
        steps in steps(), keep in prop::option::of(0_usize..4),
        hours in prop::option::of(0_u64..300),
        daily in 0_usize..4, weekly in 0_usize..3,
        pinned in prop::collection::vec(any::<bool>(), 0..6),
    ) {
        let mut world = World::new(&steps);
        for (backup, pinned) in world.backups.iter_mut().zip(pinned) {
            let pin = Pin { since: at(0), until: None, reason: String::new() };
            backup.pin = pinned.then_some(pin);
        }
        let history = world.history();
        let window = hours.map(|hours| Duration::from_secs(hours * 3600));
        let tiers = Tiers { daily, weekly, ..Tiers::default() };
        let rules = Rules { keep, window, tiers };
        let decisions = retention::kept(&history, &rules, at(world.clock));
        let after = world.expired(&history, &decisions);
        let left = after.history();
        // What is kept for itself can be restored as it could.
        let kept = history.backups.iter().zip(&decisions).filter(|(_, kept)| kept.is_some());
        for (backup, _) in kept {
            prop_assert_eq!(history.first_missing(backup), left.first_missing(backup));
        }
        // A pin keeps its backup.
        for backup in history.backups.iter().filter(|backup| backup.pin.is_some()) {
            prop_assert!(left.backups.iter().any(|other| other.id == backup.id));
        }
        // The present is as near as it was, from as near a backup.
        let newest = *world.wal.keys().next_back().unwrap();
        prop_assert_eq!(world.furthest(&history, newest), after.furthest(&left, newest));
        let best = |history: &History| {
            history.best(&history.chain(newest)).map(|backup| backup.id.clone())
        };
        prop_assert_eq!(best(&history), best(&left));
        // A backup that the rules keep gets wherever it got, and one that is kept for the present
        // gets there.
        for (backup, kept) in history.backups.iter().zip(&decisions) {
            for to in world.wal.keys().copied().filter(|to| history.leads(backup, *to)) {
                let counts = *kept == Some(Kept::ByRule)
                    || (*kept == Some(Kept::ForThePresent) && to == newest);
                if counts && history.first_missing(backup).is_none() {
                    prop_assert_eq!(history.reach(backup, to).end, left.reach(backup, to).end);
                }
            }
        }
        // Cuts are no holes.
        if world.is_whole {
            for timeline in left.numbers() {
                prop_assert_eq!(left.gaps(timeline), vec![]);
            }
        }
        // What lies before every kept backup is gone.
        let starts = after.backups.iter().map(|backup| backup.start_lsn.0 as usize / SIZE as usize);
        let first = starts.min();
        if let Some(first) = first
            && after.backups.iter().any(|backup| world.leads(backup, newest))
        {
            prop_assert!(after.archive.iter().all(|(_, number)| *number >= first));
        }
    }

    #[test]
    fn a_window_can_be_restored_to_as_a_whole(steps in steps(), hours in 1_u64..300) {
        // With a clock that only goes forward: any time of the window on the way to the present.
        let steps: Vec<Step> = steps.into_iter().map(|step| match step {
            Step::Clock(hours) => Step::Clock(hours.abs()),
            other => other,
        }).collect();
        let world = World::new(&steps);
        let history = world.history();
        let now = at(world.clock);
        let window = Duration::from_secs(hours * 3600);
        let rules = Rules { window: Some(window), ..Rules::default() };
        let left = world.expired(&history, &retention::kept(&history, &rules, now)).history();
        let end = Target::Time(now.checked_sub(window).unwrap_or(Timestamp::MIN));
        let wanted = Wanted {
            id: None, target: &end, position: None, line: Line::Latest, standby: true, now,
        };
        if let Ok(before) = select(&history, &wanted) {
            // The chosen one is still there, and still the one to choose.
            prop_assert_eq!(&before.backup.id, &select(&left, &wanted).unwrap().backup.id);
        }
    }
}
