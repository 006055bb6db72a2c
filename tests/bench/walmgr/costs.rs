//! What an ability costs: the same walmgr without and with it, in turn.

use crate::archiver::{Archiver, Kind};
use crate::backup;
use crate::drain::Backlog;
use crate::table::Series;

const ROUNDS: usize = 5;
/// Of 16 MiB.
const SEGMENTS: usize = 32;

/// A way to compress, and the same walmgr without and with the ability.
type Pair = (&'static str, [Kind; 2]);

/// An ability.
pub(crate) struct Cost {
    what: &'static str,
    /// Head of the columns for what has it.
    with: &'static str,
    archive: &'static [Pair],
    backup: &'static [Pair],
    goal: &'static str,
}

pub(crate) const ENCRYPTION: Cost = Cost {
    what: "with encryption",
    with: "encrypted",
    archive: &[
        ("lz4 + daemon", [Kind::Daemon("lz4"), Kind::SealedDaemon("lz4")]),
        ("zstd + daemon", [Kind::Daemon("zstd"), Kind::SealedDaemon("zstd")]),
        ("none + daemon", [Kind::Daemon("none"), Kind::SealedDaemon("none")]),
    ],
    backup: &[
        ("lz4", [Kind::Walmgr("lz4"), Kind::Sealed("lz4")]),
        ("zstd", [Kind::Walmgr("zstd"), Kind::Sealed("zstd")]),
        ("none", [Kind::Walmgr("none"), Kind::Sealed("none")]),
    ],
    goal: "85 % of the speed without",
};

pub(crate) const SECOND_REPOSITORY: Cost = Cost {
    what: "into two repositories on one disk",
    with: "into two",
    archive: &[
        ("lz4 + daemon", [Kind::Daemon("lz4"), Kind::TwoDaemon("lz4")]),
        ("zstd + daemon", [Kind::Daemon("zstd"), Kind::TwoDaemon("zstd")]),
        ("zstd", [Kind::Walmgr("zstd"), Kind::Two("zstd")]),
        ("none + daemon", [Kind::Daemon("none"), Kind::TwoDaemon("none")]),
    ],
    backup: &[
        ("lz4", [Kind::Walmgr("lz4"), Kind::Two("lz4")]),
        ("zstd", [Kind::Walmgr("zstd"), Kind::Two("zstd")]),
        ("none", [Kind::Walmgr("none"), Kind::Two("none")]),
    ],
    goal: "1.3 x the time with one, 77 % of its speed; uncompressed, two is twice the bytes",
};

pub(crate) fn run(cost: &Cost) {
    archive(cost);
    println!();
    back_up(cost);
    println!("  goal: {}", cost.goal);
}

/// The speed of the second beside the first, in percent.
fn speed(series: &[Series; 2], takes_time: bool) -> f64 {
    let [without, with] = series;
    100.0 * if takes_time { without.over(with) } else { with.over(without) }
}

fn archive(cost: &Cost) {
    let Cost { what, with, .. } = cost;
    let mut backlog = Backlog::new(16, SEGMENTS);
    println!("Archiver drain {what}, {SEGMENTS} segments of 16 MiB, {ROUNDS} rounds");
    println!("  {:<20}{:>16}{with:>16}{:>12}", "walmgr", "segments/s", "speed");
    for (name, kinds) in cost.archive {
        let mut series = [Series::new(*name), Series::new(*name)];
        let mut done = Vec::new();
        for _ in 0..ROUNDS {
            for (kind, series) in kinds.iter().zip(&mut series) {
                let archiver = Archiver::new(&backlog.site, *kind);
                series.figures.push(backlog.drain(&archiver, SEGMENTS));
                done.push(archiver.stop());
            }
        }
        println!(
            "  {name:<20}{:>16.1}{:>16.1}{:>10.0} %",
            series[0].median(),
            series[1].median(),
            speed(&series, false)
        );
    }
}

fn back_up(cost: &Cost) {
    let Cost { what, with, .. } = cost;
    let (site, size) = backup::filled();
    let mut client = site.cluster.connect("postgres");
    println!("Backup {what} and restore of {:.2} GB, {ROUNDS} rounds", size as f64 / 1e9);
    println!(
        "  {:<12}{:>12}{with:>14}{:>10}{:>14}{with:>14}{:>10}",
        "walmgr", "backup s", "speed", "restore s", "speed"
    );
    for (name, kinds) in cost.backup {
        let new = || [Series::new(*name), Series::new(*name)];
        let (mut backups, mut restores) = (new(), new());
        for _ in 0..ROUNDS {
            for (at, kind) in kinds.iter().enumerate() {
                let archiver = Archiver::new(&site, *kind);
                let times = backup::there_and_back(&site, &mut client, *kind, &archiver);
                let [backup, restore] = times;
                backups[at].figures.push(backup);
                restores[at].figures.push(restore);
            }
        }
        println!(
            "  {name:<12}{:>12.2}{:>14.2}{:>8.0} %{:>14.2}{:>14.2}{:>8.0} %",
            backups[0].median(),
            backups[1].median(),
            speed(&backups, true),
            restores[0].median(),
            restores[1].median(),
            speed(&restores, true)
        );
    }
}
