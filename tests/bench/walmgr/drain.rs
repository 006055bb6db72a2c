//! The server's archiver works off a backlog of whole segments; the server syncs, and so do the
//! archivers, except `cp`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use pgq_tests::{Cluster, wait_until};
use postgres::Client;

use crate::archiver::{Archiver, Kind};
use crate::table::Series;
use pgq_tests::site::Site;

const ROUNDS: usize = 3;

pub(crate) fn run() {
    drain(1, 300);
    println!();
    drain(16, 32);
}

/// A server with a backlog of pgbench's WAL.
pub(crate) struct Backlog {
    pub(crate) site: Site,
    names: Vec<String>,
    client: Client,
}

impl Backlog {
    /// Let pgbench write until so many segments wait.
    pub(crate) fn new(segment_mib: usize, segments: usize) -> Self {
        let cluster = Cluster::builder()
            .initdb_arg(&format!("--wal-segsize={segment_mib}"))
            .initdb_arg("--data-checksums")
            .set("archive_mode", "on")
            .set("archive_command", "")
            .set("wal_level", "replica")
            .set("wal_keep_size", "64GB")
            .set("max_wal_size", "64GB")
            .set("checkpoint_timeout", "1d")
            .set("shared_buffers", "512MB")
            .set("synchronous_commit", "off")
            .set("autovacuum", "off")
            .start();
        let site = Site::new(cluster);
        pgbench(&site, &["-q", "-i", "-s", "20"]);
        let mut client = site.cluster.connect("postgres");
        let mut backlog = loop {
            client.batch_execute("checkpoint").unwrap();
            pgbench(&site, &["-n", "-c", "4", "-t", "20000"]);
            let waiting = with_status(&site, ".ready");
            // Those of the tables' creation come first and are not what archivers live on.
            if waiting.len() >= 2 * segments {
                break waiting;
            }
        };
        client.batch_execute("checkpoint").unwrap();
        let names = backlog.split_off(backlog.len() - segments);
        for name in &backlog {
            set_status(&site, name, ".ready", ".done");
        }
        Self { site, names, client }
    }

    /// Let the archiver send the first `count` segments; segments a second.
    pub(crate) fn drain(&mut self, archiver: &Archiver, count: usize) -> f64 {
        let site = &self.site;
        for name in with_status(site, ".ready") {
            set_status(site, &name, ".ready", ".done");
        }
        let names = &self.names[..count];
        for name in names {
            set_status(site, name, ".done", ".ready");
        }
        let last = status(site, names.last().unwrap(), ".done");
        if let Some(library) = archiver.library {
            load(site, library);
            self.client.batch_execute(&format!("load '{library}'")).unwrap();
        }
        Command::new("sync").status().unwrap();
        let (setting, value) = &archiver.setting;
        self.client.batch_execute(&format!("alter system set {setting} = '{value}'")).unwrap();
        let begin = Instant::now();
        self.client.batch_execute("select pg_reload_conf()").unwrap();
        // A look costs nothing that matters beside a call of the archive_command.
        while !last.exists() {
            std::thread::sleep(Duration::from_micros(500));
            assert!(begin.elapsed().as_secs() < 60, "it does not archive:\n{}", site.cluster.log());
        }
        let seconds = begin.elapsed().as_secs_f64();
        self.client.batch_execute(&format!("alter system reset {setting}")).unwrap();
        self.client.batch_execute("select pg_reload_conf()").unwrap();
        if archiver.library.is_some() {
            load(site, "");
        }
        count as f64 / seconds
    }
}

/// Change the archive_library, and wait for the new archiver that loads it. The server starts one
/// no sooner than 10 s after the last, and when somebody connects.
fn load(site: &Site, library: &str) {
    let ask = |question: &str| site.cluster.psql("postgres", question);
    let archiver =
        "select coalesce(max(pid), 0) from pg_stat_activity where backend_type = 'archiver'";
    let before = ask(archiver);
    ask(&format!("alter system set archive_library = '{library}'"));
    ask("select pg_reload_conf()");
    let is_new = || !["0", &before].contains(&ask(archiver).as_str());
    assert!(wait_until(Duration::from_secs(90), is_new), "no new archiver");
}

fn pgbench(site: &Site, args: &[&str]) {
    let output = site.cluster.command("pgbench").args(args).arg("postgres").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn status(site: &Site, name: &str, suffix: &str) -> PathBuf {
    site.cluster.data_dir().join("pg_wal/archive_status").join(format!("{name}{suffix}"))
}

fn set_status(site: &Site, name: &str, from: &str, to: &str) {
    let _ = fs::rename(status(site, name, from), status(site, name, to));
}

fn with_status(site: &Site, suffix: &str) -> Vec<String> {
    let directory = site.cluster.data_dir().join("pg_wal/archive_status");
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().to_str()?.strip_suffix(suffix).map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

fn drain(segment_mib: usize, segments: usize) {
    let mut backlog = Backlog::new(segment_mib, segments);
    // The slow ones get fewer, so that a round does not take minutes.
    let contestants = [
        ("/bin/true", Kind::True, segments),
        ("walmgr lz4", Kind::Walmgr("lz4"), segments),
        ("walmgr lz4 + daemon", Kind::Daemon("lz4"), segments),
        ("pgBackRest lz4", Kind::Backrest("lz4"), segments / 4),
        ("pgBackRest lz4, async", Kind::BackrestAsync("lz4"), segments),
        ("walmgr zstd", Kind::Walmgr("zstd"), segments),
        ("walmgr zstd + daemon", Kind::Daemon("zstd"), segments),
        ("pgBackRest zstd", Kind::Backrest("zstd"), segments / 4),
        ("pgBackRest zstd, async", Kind::BackrestAsync("zstd"), segments),
        ("barman put-wal", Kind::Barman, 8),
        ("cp, no fsync", Kind::Copy, segments),
        ("walmgr lz4 + daemon, library", Kind::Library("lz4"), segments),
    ];
    let mut series: Vec<Series> = contestants.iter().map(|(name, ..)| Series::new(*name)).collect();
    let (mut memory, mut done) = (0, Vec::new());
    for _ in 0..ROUNDS {
        for ((_, kind, count), series) in contestants.iter().zip(&mut series) {
            let archiver = Archiver::new(&backlog.site, *kind);
            series.figures.push(backlog.drain(&archiver, *count));
            memory = memory.max(archiver.peak_memory());
            // Removing many files slows down who creates some next, so that waits until the end.
            done.push(archiver.stop());
        }
    }
    drop(done);
    println!(
        "Archiver drain, {segments} segments of {segment_mib} MiB of pgbench's WAL, fsync on, {} processes: medians of {ROUNDS} rounds",
        crate::archiver::JOBS
    );
    println!(
        "  {:<30}{:>12}{:>16}{:>26}",
        "archiver", "segments/s", "of /bin/true", "of pgBackRest async"
    );
    for (number, one) in series.iter().enumerate() {
        let peer = &series[if (5..=8).contains(&number) { 8 } else { 4 }];
        println!(
            "  {:<30}{:>12.1}{:>15.0}%{:>25.1}x",
            one.name,
            one.median(),
            100.0 * one.over(&series[0]),
            one.over(peer)
        );
    }
    println!("  targets: with the daemon at 1 MiB 75 % and 6 x, at 16 MiB 1 x");
    println!("  peak memory of the daemon: {} MB (target 64)", memory / 1024);
}
