//! Backup and restore of a cluster of 2 GB.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use pgq_tests::Cluster;
use postgres::Client;

use crate::archiver::{Archiver, JOBS, Kind, backrest, ok, walmgr};
use crate::table::Series;
use pgq_tests::site::Site;

const ROUNDS: usize = 3;

/// A server with 2 GB of tables; their size.
pub(crate) fn filled() -> (Site, i64) {
    let cluster = Cluster::builder()
        .initdb_arg("--data-checksums")
        .set("archive_mode", "on")
        .set("archive_command", "/bin/true")
        .set("wal_level", "replica")
        .set("max_wal_size", "16GB")
        .set("checkpoint_timeout", "1d")
        .set("shared_buffers", "512MB")
        .set("maintenance_work_mem", "512MB")
        .set("autovacuum", "off")
        .start();
    let site = Site::new(cluster);
    ok(site.cluster.command("pgbench").args(["-q", "-i", "-s", "130", "postgres"]));
    let mut client = site.cluster.connect("postgres");
    client.batch_execute("checkpoint").unwrap();
    client.batch_execute("select pg_switch_wal()").unwrap();
    client.batch_execute("checkpoint").unwrap();
    let size: i64 = client
        .query_one("select sum(pg_database_size(oid))::bigint from pg_database", &[])
        .unwrap()
        .get(0);
    (site, size)
}

pub(crate) fn run() {
    let (site, size) = filled();
    let mut client = site.cluster.connect("postgres");
    let mut series: Vec<[Series; 2]> = Vec::new();
    let contestants = [
        ("cp -a, sync", Kind::Copy),
        ("walmgr, none", Kind::Walmgr("none")),
        ("pgBackRest, none", Kind::Backrest("none")),
        ("walmgr, lz4", Kind::Walmgr("lz4")),
        ("pgBackRest, lz4", Kind::Backrest("lz4")),
        ("walmgr, zstd", Kind::Walmgr("zstd")),
        ("pgBackRest, zstd", Kind::Backrest("zstd")),
    ];
    for (name, _) in contestants {
        series.push([Series::new(name), Series::new(name)]);
    }
    for _ in 0..ROUNDS {
        for ((_, kind), series) in contestants.iter().zip(&mut series) {
            let archiver = Archiver::new(&site, *kind);
            let [backup, restore] = there_and_back(&site, &mut client, *kind, &archiver);
            series[0].figures.push(backup);
            series[1].figures.push(restore);
        }
    }
    println!(
        "Backup and restore of {:.2} GB, {JOBS} processes, page checksums on: medians of {ROUNDS} rounds",
        size as f64 / 1e9
    );
    println!(
        "  {:<20}{:>10}{:>10}{:>14}{:>12}{:>10}{:>14}",
        "", "backup s", "of cp", "of pgBackRest", "restore s", "of cp", "of pgBackRest"
    );
    for (number, [backup, restore]) in series.iter().enumerate() {
        let peer = &series[if number == 0 { 2 } else { (number - 1) / 2 * 2 + 2 }];
        let cp = &series[0];
        println!(
            "  {:<20}{:>10.2}{:>9.2}x{:>13.2}x{:>12.2}{:>9.2}x{:>13.2}x",
            backup.name,
            backup.median(),
            backup.over(&cp[0]),
            backup.over(&peer[0]),
            restore.median(),
            restore.over(&cp[1]),
            restore.over(&peer[1])
        );
    }
    println!("  targets: below 1 x of pgBackRest; uncompressed at most 1.2 x of cp");
}

/// Seconds of a backup, and of its restore.
pub(crate) fn there_and_back(
    site: &Site,
    client: &mut Client,
    kind: Kind,
    archiver: &Archiver,
) -> [f64; 2] {
    let (name, value) = &archiver.setting;
    let set = format!("alter system set {name} = '{value}'");
    client.batch_execute(&set).unwrap();
    client.batch_execute("select pg_reload_conf()").unwrap();
    let restored = archiver.directory.join("restored");
    let backup = timed(|| back_up(site, kind, &archiver.directory));
    let restore = timed(|| restore(site, kind, &archiver.directory, &restored));
    assert!(restored.join("PG_VERSION").exists());
    client.batch_execute("alter system set archive_command = '/bin/true'").unwrap();
    client.batch_execute("select pg_reload_conf()").unwrap();
    [backup, restore]
}

/// Seconds, from a disk that has nothing left to write.
fn timed(work: impl FnOnce()) -> f64 {
    ok(&mut Command::new("sync"));
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64()
}

fn copy(site: &Site, from: &Path, to: &Path) {
    ok(site.cluster.run_as("cp").arg("-a").arg(from).arg(to));
    ok(site.cluster.run_as("sync").arg("-f").arg(to));
}

fn back_up(site: &Site, kind: Kind, directory: &Path) {
    match kind {
        Kind::Walmgr(_) | Kind::Sealed(_) => {
            ok(walmgr(site, &directory.join("walmgr.toml")).args(["--quiet", "backup"]));
        }
        Kind::Two(_) => {
            ok(walmgr(site, &directory.join("walmgr.toml")).args(["--quiet", "backup", "--all"]));
        }
        Kind::Backrest(_) => {
            ok(backrest(site, &directory.join("pgbackrest.conf")).args(["--type=full", "backup"]));
        }
        _ => {
            // WAL is not part of the others' backups either.
            let place = directory.join("copied");
            ok(site.cluster.run_as("mkdir").arg("-m").arg("700").arg(&place));
            for entry in fs::read_dir(site.cluster.data_dir()).unwrap() {
                let path = entry.unwrap().path();
                if !path.ends_with("pg_wal") && !path.ends_with("postmaster.pid") {
                    ok(site.cluster.run_as("cp").arg("-a").arg(path).arg(&place));
                }
            }
            ok(site.cluster.run_as("sync").arg("-f").arg(&place));
        }
    }
}

fn restore(site: &Site, kind: Kind, directory: &Path, to: &Path) {
    match kind {
        Kind::Walmgr(_) | Kind::Sealed(_) | Kind::Two(_) => {
            let mut restore = walmgr(site, &directory.join("walmgr.toml"));
            ok(restore.args(["--quiet", "restore", "--no-archive", "--data"]).arg(to));
        }
        Kind::Backrest(_) => {
            ok(site.cluster.run_as("mkdir").arg("-m").arg("700").arg(to));
            let mut restore = backrest(site, &directory.join("pgbackrest.conf"));
            ok(restore.arg(format!("--pg1-path={}", to.display())).arg("restore"));
        }
        _ => copy(site, &directory.join("copied"), to),
    }
}
