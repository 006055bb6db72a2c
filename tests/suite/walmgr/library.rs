//! walmgr_archive, the server's archive_library: stored by the daemon, or by walmgr when there is
//! none, and a server that keeps working.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};

use crate::walmgr::daemon::{Daemon, ready};
use pgq_tests::site::{Site, archiving, has_libraries, write_owned};

/// A server whose archiver has the library from the start: another one is loaded by a new process,
/// which takes a while.
fn site() -> Site {
    site_in(Site::new)
}

fn site_in(site: fn(Cluster) -> Site) -> Site {
    let site = site(archiving().set("archive_library", "walmgr_archive").start());
    site.ok(&["setup", "--library"]);
    site
}

fn failures(site: &Site) -> u32 {
    let count = site.cluster.psql("postgres", "select failed_count from pg_stat_archiver");
    count.parse().unwrap()
}

/// Change a setting of the library, which the server knows only where it is loaded.
fn alter(site: &Site, change: &str) {
    let mut client = site.cluster.connect("postgres");
    for statement in ["load 'walmgr_archive'", change, "select pg_reload_conf()"] {
        client.batch_execute(statement).unwrap();
    }
}

#[test]
fn the_archiver_stores_through_the_daemon_or_without_it() {
    if !has_libraries() {
        return;
    }
    let site = site();
    site.ok(&["check"]);
    // No daemon yet.
    for _ in 0..3 {
        site.archive_all();
    }
    let mut daemon = Daemon::start(&site, "");
    // Only the daemon can have stored what comes now.
    alter(&site, "alter system set walmgr_archive.program = '/nonexistent/walmgr'");
    let before = site.segments("00000001").len();
    for _ in 0..20 {
        site.archive_all();
    }
    assert!(site.segments("00000001").len() >= before + 20);
    assert_eq!(failures(&site), 0);
    // The daemon dies: nothing is acknowledged, and nothing lost.
    daemon.signal("-KILL");
    assert!(wait_until(PATIENCE, || !daemon.is_running()));
    site.cluster.psql("postgres", "create table t as select 1; select pg_switch_wal()");
    assert!(wait_until(PATIENCE, || failures(&site) > 0));
    assert!(wait_until(PATIENCE, || site.cluster.log().contains("could not run \"/nonexistent")));
    let _daemon = Daemon::start(&site, "");
    site.archive_all();
    site.ok(&["verify"]);
}

#[test]
fn what_cannot_be_stored_is_told_and_kept() {
    if !has_libraries() {
        return;
    }
    let mut site = site_in(Site::plain);
    let _daemon = Daemon::start(&site, "");
    // The next segment's name stands for something else already.
    site.archive_all();
    let name = site.cluster.psql("postgres", "select pg_walfile_name(pg_current_wal_insert_lsn())");
    let last = site.segments("00000001").pop().unwrap();
    assert!(last < name);
    let object = site.object(&last).with_file_name(&name);
    write_owned(&object, &fs::read(site.object(&last)).unwrap());
    site.cluster.psql("postgres", "create table t as select 1; select pg_switch_wal()");
    assert!(wait_until(PATIENCE, || failures(&site) >= 3), "{}", site.cluster.log());
    let log = site.cluster.log();
    assert!(
        log.contains(&format!("WARNING:  walmgr: {name} is in the repository with other content")),
        "{log}"
    );
    assert!(site.cluster.data_dir().join("pg_wal").join(&name).exists());
    fs::remove_file(&object).unwrap();
    site.cluster.stop(Stop::Fast);
    site.cluster.start();
    site.archive_all();
    site.ok(&["verify"]);
}

/// A daemon that never answers the first client, to which it gives signs of life, and sends the
/// others away.
struct Slow {
    socket: PathBuf,
    first: Receiver<(String, UnixStream)>,
}

impl Slow {
    fn listen(site: &Site) -> Self {
        let socket = site.cluster.data_dir().join("walmgr.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
        let (sender, first) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut kept = Some(sender);
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                if let Some(sender) = kept.take() {
                    let mut line = String::new();
                    stream.read_line(&mut line).unwrap();
                    let mut alive = stream.get_ref().try_clone().unwrap();
                    sender.send((line, stream.into_inner())).unwrap();
                    std::thread::spawn(move || {
                        while alive.write_all(b"\"Busy\"\n").is_ok() {
                            // Pace: of a busy daemon's signs of life.
                            std::thread::sleep(Duration::from_secs(1));
                        }
                    });
                }
            }
        });
        Self { socket, first }
    }

    /// What the first client asked for, and the connection it waits at.
    fn first(&self) -> (String, UnixStream) {
        self.first.recv_timeout(PATIENCE).unwrap()
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        fs::remove_file(&self.socket).unwrap();
    }
}

#[test]
fn a_server_whose_archiver_waits_goes_on_and_stops() {
    if !has_libraries() {
        return;
    }
    let mut site = site();
    site.cluster.psql("postgres", "create database d");
    site.archive_all();
    let slow = Slow::listen(&site);
    site.cluster.psql("postgres", "create table t as select 1; select pg_switch_wal()");
    let (line, stream) = slow.first();
    let request: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(request["verb"], "Push");
    let is_archived = format!(
        "select last_archived_wal >= '{}' from pg_stat_archiver",
        request["name"].as_str().unwrap()
    );
    // Waits until every process of the server, the archiver too, has closed its files.
    site.cluster.psql("postgres", "drop database d");
    // The archiver was woken for that, and waits on; when the connection ends it goes without the
    // daemon.
    assert_eq!(site.cluster.psql("postgres", &is_archived), "f");
    stream.shutdown(Shutdown::Both).unwrap();
    assert!(wait_until(PATIENCE, || site.cluster.psql("postgres", &is_archived) == "t"));
    drop(slow);
    // Told to stop while it waits, it remembers that.
    let slow = Slow::listen(&site);
    site.cluster.psql("postgres", "create table u as select 1; select pg_switch_wal()");
    let (_, stream) = slow.first();
    let control = Tree::Ours.bin().join("pg_controldata");
    let mut control = site.cluster.run_as(control);
    control.arg(site.cluster.data_dir());
    let end = std::thread::spawn(move || {
        // The archiver is told to stop when the last checkpoint is written.
        let is_down = wait_until(PATIENCE, || {
            let output = control.output().unwrap();
            String::from_utf8_lossy(&output.stdout).contains("state:               shut down\n")
        });
        stream.shutdown(Shutdown::Both).unwrap();
        is_down
    });
    site.cluster.stop(Stop::Fast);
    assert!(end.join().unwrap());
    assert_eq!(ready(&site), [""; 0], "it stopped before all was archived");
    drop(slow);
    site.ok(&["verify"]);
}

/// About time: it takes as long as the clients wait for a sign of life.
#[test]
fn a_daemon_that_hangs_is_left_alone_and_costs_no_shutdown_minutes() {
    if !has_libraries() {
        return;
    }
    let mut site = site();
    site.archive_all();
    let mut daemon = Daemon::start(&site, "");
    let socket = site.cluster.data_dir().join("walmgr.sock");
    daemon.signal("-STOP");
    for n in 0..10 {
        site.cluster.psql("postgres", &format!("create table t{n} (); select pg_switch_wal()"));
    }
    // All that is left is archived in one go, as many files as there may be, by walmgr.
    site.cluster.stop(Stop::Fast);
    assert_eq!(ready(&site), [""; 0], "{}", site.cluster.log());
    let told = site.cluster.log().matches("walmgr: the daemon gives no sign of life").count();
    assert_eq!(told, 1, "{}", site.cluster.log());
    assert!(!socket.exists());
    // It comes to life again, and is asked again.
    daemon.signal("-CONT");
    assert!(wait_until(PATIENCE, || UnixStream::connect(&socket).is_ok()));
    assert!(daemon.is_running());
    site.cluster.start();
    alter(&site, "alter system set walmgr_archive.program = '/nonexistent/walmgr'");
    let failed = failures(&site);
    site.archive_all();
    assert_eq!(failures(&site), failed);
    site.ok(&["verify"]);
}

#[test]
fn command_and_library_take_turns() {
    if !has_libraries() {
        return;
    }
    let site = site();
    let show = |name: &str| site.cluster.psql("postgres", &format!("show {name}"));
    assert_eq!(show("archive_library"), "walmgr_archive");
    assert_eq!(show("archive_command"), "");
    site.ok(&["setup"]);
    assert_eq!(show("archive_library"), "");
    assert!(show("archive_command").contains("archive-push"));
    site.archive_all();
    site.ok(&["setup", "--library"]);
    site.ok(&["check"]);
    // It waits until it is told which configuration.
    alter(&site, "alter system reset walmgr_archive.config");
    assert!(wait_until(PATIENCE, || {
        site.cluster.psql("postgres", "select pg_switch_wal()");
        site.cluster.log().contains("archiving is not configured")
    }));
    site.ok(&["setup", "--library"]);
    // A misspelt setting is refused and not kept for nobody.
    let mut client = site.cluster.connect("postgres");
    client.batch_execute("load 'walmgr_archive'").unwrap();
    client.batch_execute("set walmgr_archive.confg = 'x'").unwrap_err();
    site.ok(&["stop"]);
    assert_eq!(show("archive_library"), "");
    site.fails(2, &["check"]);
    // Another's library is neither walmgr's nor walmgr's to end, whatever the command beside it is.
    let command = "alter system set archive_command = 'walmgr archive-push %p'";
    site.cluster.psql("postgres", command);
    site.cluster.psql("postgres", "alter system set archive_library = 'basic_archive'");
    site.cluster.psql("postgres", "select pg_reload_conf()");
    assert!(wait_until(PATIENCE, || show("archive_library") == "basic_archive"));
    let text = site.fails(2, &["stop"]);
    assert!(text.contains("basic_archive"), "{text}");
    site.fails(2, &["check"]);
    assert_eq!(show("archive_library"), "basic_archive");
}
