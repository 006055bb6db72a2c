//! `make demo-walmgr`: a primary under load, an archive, a backup, a disaster, a restore to just
//! before it, a standby that takes over; and every committed row accounted for at each step.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    dead_code,
    reason = "a demonstration: it prints, and a failed step is its failure"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pgq_tests::site::Site;
use pgq_tests::{Cluster, Stop, Tree, wait_until};
use postgres::{Client, NoTls};

const PATIENCE: Duration = Duration::from_secs(60);

/// Writers that commit numbered rows and remember the last number whose commit was acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<i64>>,
}

impl Load {
    fn start(site: &Site, writers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..writers)
            .map(|writer| {
                let conninfo = site.cluster.conninfo("postgres");
                let stopped = Arc::clone(&stop);
                std::thread::spawn(move || write(&conninfo, writer, &stopped))
            })
            .collect();
        Self { stop, writers }
    }

    /// Stop writing; the number of rows whose commit was acknowledged.
    fn finish(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    }
}

fn write(conninfo: &str, writer: usize, stopped: &AtomicBool) -> i64 {
    let mut client = Client::connect(conninfo, NoTls).unwrap();
    let writer = i32::try_from(writer).unwrap();
    let mut acknowledged = 0;
    while !stopped.load(Ordering::Relaxed) {
        let sql = "insert into ledger values ($1, $2, repeat(md5(($2::int8)::text), 8))";
        client.execute(sql, &[&writer, &(acknowledged + 1)]).unwrap();
        acknowledged += 1;
    }
    acknowledged
}

fn main() {
    let clock = Instant::now();
    let say = |text: &str| println!("{:6.1} s  {text}", clock.elapsed().as_secs_f32());

    let primary = Site::new(pgq_tests::site::archiving().start());
    primary.ok(&["setup"]);
    primary.cluster.psql("postgres", "create table ledger (writer int, n bigint, filler text)");
    say("a primary runs; walmgr setup has sent a segment through its archiver");

    let load = Load::start(&primary, 3);
    primary.ok(&["backup", "--label", "under load"]);
    say("a base backup was taken while three writers were committing");
    let grown = wait_until(PATIENCE, || {
        primary.cluster.psql("postgres", "select count(*) > 2000 from ledger") == "t"
    });
    assert!(grown);
    primary.ok(&["backup", "--incremental"]);
    let committed = load.finish();
    let target = primary.cluster.psql("postgres", "select clock_timestamp()");
    say(&format!("the writers have stopped after {committed} acknowledged commits"));
    println!("{}", primary.ok(&["listbackups"]));

    primary.cluster.psql("postgres", "drop table ledger");
    primary.archive_all();
    say("disaster: the table was dropped, and that is in the archive too");
    let mut primary = primary;
    primary.cluster.stop(Stop::Kill);
    say("and the primary was killed with SIGKILL");

    let mut restored = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    restored.ok(&["restore", "--to-time", &target]);
    recovered(&mut restored);
    let count = restored.cluster.psql("postgres", "select count(*) from ledger");
    say(&format!("restored to just before the drop: {count} of {committed} rows are there"));
    assert_eq!(count, committed.to_string());

    restored.ok(&["setup"]);
    restored.ok(&["backup", "--incremental"]);
    let mut standby = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    standby.configure(&format!(
        "standby.primary_conninfo = \"{}\"\nstandby.slot = 'demo'",
        restored.cluster.conninfo("postgres")
    ));
    standby.ok(&["createslave", "--no-start"]);
    standby.cluster.start();
    let load = Load::start(&restored, 2);
    let more = wait_until(PATIENCE, || {
        standby
            .cluster
            .psql("postgres", &format!("select count(*) > {committed} + 200 from ledger"))
            == "t"
    });
    assert!(more);
    let committed = committed + load.finish();
    restored.cluster.stop(Stop::Fast);
    standby.ok(&["boot"]);
    let count = standby.cluster.psql("postgres", "select count(*) from ledger");
    say(&format!("its standby followed, and was promoted: {count} of {committed} rows are there"));
    assert_eq!(count, committed.to_string());
    standby.ok(&["setup"]);
    standby.ok(&["verify"]);
    println!("{}", standby.ok(&["info"]));
    say("every committed row is accounted for, and every byte of the repository has its hash");
}

fn recovered(site: &mut Site) {
    site.cluster.start_without_waiting();
    let cluster = &site.cluster;
    let done = wait_until(PATIENCE, || {
        cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
            client.query_one("select not pg_is_in_recovery()", &[]).is_ok_and(|row| row.get(0))
        })
    });
    assert!(done, "{}", cluster.log());
}
