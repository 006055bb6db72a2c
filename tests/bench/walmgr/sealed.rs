//! What encryption costs: the same walmgr with and without, in turn.

use crate::archiver::{Archiver, Kind};
use crate::backup;
use crate::drain::Backlog;
use crate::table::Series;

const ROUNDS: usize = 5;
/// Of 16 MiB.
const SEGMENTS: usize = 32;
/// Without and with.
type Pair = (&'static str, [Kind; 2]);

pub(crate) fn run() {
    archive();
    println!();
    back_up();
    println!("  target: 85 % of the speed without");
}

fn archive() {
    let mut backlog = Backlog::new(16, SEGMENTS);
    let pairs: [Pair; 3] = [
        ("lz4 + daemon", [Kind::Daemon("lz4"), Kind::SealedDaemon("lz4")]),
        ("zstd + daemon", [Kind::Daemon("zstd"), Kind::SealedDaemon("zstd")]),
        ("none + daemon", [Kind::Daemon("none"), Kind::SealedDaemon("none")]),
    ];
    println!("Archiver drain with encryption, {SEGMENTS} segments of 16 MiB, {ROUNDS} rounds");
    println!("  {:<20}{:>16}{:>16}{:>12}", "walmgr", "segments/s", "encrypted", "speed");
    for (name, kinds) in pairs {
        let mut series = [Series::new(name), Series::new(name)];
        let mut done = Vec::new();
        for _ in 0..ROUNDS {
            for (kind, series) in kinds.into_iter().zip(&mut series) {
                let archiver = Archiver::new(&backlog.site, kind);
                series.figures.push(backlog.drain(&archiver, SEGMENTS));
                done.push(archiver.stop());
            }
        }
        let [plain, sealed] = series;
        println!(
            "  {name:<20}{:>16.1}{:>16.1}{:>10.0} %",
            plain.median(),
            sealed.median(),
            100.0 * sealed.over(&plain)
        );
    }
}

fn back_up() {
    let (site, size) = backup::filled();
    let mut client = site.cluster.connect("postgres");
    let pairs: [Pair; 3] = [
        ("lz4", [Kind::Walmgr("lz4"), Kind::Sealed("lz4")]),
        ("zstd", [Kind::Walmgr("zstd"), Kind::Sealed("zstd")]),
        ("none", [Kind::Walmgr("none"), Kind::Sealed("none")]),
    ];
    println!("Backup and restore of {:.2} GB with encryption, {ROUNDS} rounds", size as f64 / 1e9);
    println!(
        "  {:<12}{:>12}{:>14}{:>10}{:>14}{:>14}{:>10}",
        "walmgr", "backup s", "encrypted s", "speed", "restore s", "encrypted s", "speed"
    );
    for (name, kinds) in pairs {
        let new = || [Series::new(name), Series::new(name)];
        let (mut backups, mut restores) = (new(), new());
        for _ in 0..ROUNDS {
            for (at, kind) in kinds.into_iter().enumerate() {
                let archiver = Archiver::new(&site, kind);
                let [backup, restore] = backup::there_and_back(&site, &mut client, kind, &archiver);
                backups[at].figures.push(backup);
                restores[at].figures.push(restore);
            }
        }
        let [b, r] = [&backups, &restores];
        println!(
            "  {name:<12}{:>12.2}{:>14.2}{:>8.0} %{:>14.2}{:>14.2}{:>8.0} %",
            b[0].median(),
            b[1].median(),
            100.0 * b[0].over(&b[1]),
            r[0].median(),
            r[1].median(),
            100.0 * r[0].over(&r[1])
        );
    }
}
