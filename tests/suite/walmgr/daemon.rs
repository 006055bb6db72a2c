//! The daemon: the same promises, ahead of time, and nothing lost when it dies.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};

use pgq_tests::site::{Site, archiving, write_owned};

/// A running daemon; it is killed with the value.
pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn start(site: &Site, failpoint: &str) -> Self {
        Self::saying(site, failpoint, Stdio::inherit())
    }

    /// The same, whose messages go elsewhere.
    pub(crate) fn saying(site: &Site, failpoint: &str, to: impl Into<Stdio>) -> Self {
        let mut command = site.command(&["daemon"]);
        command.env("WALMGR_FAILPOINT", failpoint).stderr(to);
        let child = command.spawn().unwrap();
        let socket = site.cluster.data_dir().join("walmgr.sock");
        let mut daemon = Self(child);
        let up =
            wait_until(PATIENCE, || UnixStream::connect(&socket).is_ok() || !daemon.is_running());
        assert!(up && daemon.is_running(), "the daemon did not start");
        daemon
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A primary with segments that wait for an archiver.
pub(crate) fn backlog(segments: u32) -> Site {
    backlog_in(Site::new, segments)
}

fn backlog_in(site: fn(Cluster) -> Site, segments: u32) -> Site {
    let site = site(archiving().set("archive_command", "false").start());
    site.ok(&["setup", "--repository-only"]);
    site.cluster.psql("postgres", "create table t (n int)");
    for n in 1..=segments {
        site.cluster.psql("postgres", &format!("insert into t values ({n})"));
        site.cluster.psql("postgres", "select pg_switch_wal()");
    }
    site
}

/// Names of the files that wait for an archiver, in order.
pub(crate) fn ready(site: &Site) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(site.cluster.data_dir().join("pg_wal/archive_status"))
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().file_name().to_str()?.strip_suffix(".ready").map(str::to_owned)
            })
            .collect();
    names.sort();
    names
}

#[test]
fn a_backlog_drains_through_the_daemon_and_past_its_death() {
    let site = backlog(40);
    let mut daemon = Daemon::start(&site, "store.renamed=kill@12");
    site.ok(&["setup"]);
    assert!(wait_until(PATIENCE, || !daemon.is_running()), "the failpoint was not reached");
    site.archive_all();
    assert!(site.segments("00000001").len() > 40);
    site.ok(&["verify"]);
    // With a daemon that lives, too; a second one is refused, and a signal ends it in order.
    let mut daemon = Daemon::start(&site, "");
    site.fails(3, &["daemon"]);
    for _ in 0..5 {
        site.archive_all();
    }
    site.ok(&["verify"]);
    daemon.signal("-TERM");
    assert!(wait_until(PATIENCE, || !daemon.is_running()));
    assert!(daemon.0.wait().unwrap().success());
    assert!(!site.cluster.data_dir().join("walmgr.sock").exists());
    site.archive_all();
}

/// Ask the daemon as walmgr-push does; its answer.
fn ask(site: &Site, name: &str) -> String {
    let data = site.cluster.data_dir();
    let request = serde_json::json!({
        "config": site.config(), "verb": "Push", "name": name, "path": data.join("pg_wal").join(name),
    });
    let mut stream = UnixStream::connect(data.join("walmgr.sock")).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    answer(&mut stream)
}

/// What the daemon says in the end; on a busy host there are signs of life before.
pub(crate) fn answer(stream: &mut UnixStream) -> String {
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    all.replace("\"Busy\"\n", "")
}

/// Files are stored several at a time: at each step some of them have got further than others.
#[test]
fn a_daemon_may_die_or_fail_at_any_step_of_several_files() {
    let mut site = backlog(20);
    site.cluster.stop(Stop::Fast);
    let names = ready(&site);
    let all_are_stored = |site: &Site| {
        for name in &names {
            site.ok(&["archive-push", &format!("pg_wal/{name}")]);
            assert!(site.object(name).exists());
        }
        site.ok(&["verify"]);
        fs::remove_dir_all(site.repository().join("main/wal/00000001")).unwrap();
    };
    for step in ["opened", "written", "synced", "renamed", "durable"] {
        // The client of a daemon that dies does it itself. A panic is a death, too: a thread less
        // would let clients wait for ever.
        for action in ["kill", "panic"] {
            let mut daemon = Daemon::start(&site, &format!("store.{step}={action}@6"));
            site.ok(&["archive-push", &format!("pg_wal/{}", names[0])]);
            assert!(wait_until(PATIENCE, || !daemon.is_running()), "{step} was not reached");
            all_are_stored(&site);
        }
    }
    // One thread stores what is asked for first, and then what comes next.
    site.configure("daemon.jobs = 1");
    for step in ["opened", "written", "synced", "renamed", "durable"] {
        let daemon = Daemon::start(&site, &format!("store.{step}=eio@1"));
        let answer = ask(&site, &names[0]);
        assert!(answer.starts_with("{\"Failed\":[4,"), "{step}: {answer}");
        assert_eq!(ask(&site, &names[0]), "\"Done\"\n", "{step}");
        all_are_stored(&site);
        drop(daemon);
        // A failure of a file that nobody had asked for is nobody's answer, and the others of its
        // group are stored.
        let _daemon = Daemon::start(&site, &format!("store.{step}=eio@4"));
        for name in &names {
            assert_eq!(ask(&site, name), "\"Done\"\n", "{step}: {name}");
        }
        all_are_stored(&site);
    }
}

/// Clients that are slow to say what they want are answered by threads of their own.
#[test]
fn a_daemon_ends_when_any_of_its_threads_does() {
    let site = backlog(1);
    let mut daemon = Daemon::start(&site, "daemon.answer=panic");
    let data = site.cluster.data_dir();
    let name = ready(&site).remove(0);
    let request = serde_json::json!({
        "config": site.config(), "verb": "Push", "name": name, "path": data.join("pg_wal").join(&name),
    });
    let (head, tail) = (request.to_string(), "\n");
    let mut stream = UnixStream::connect(data.join("walmgr.sock")).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // Pace: longer than a thread that accepts listens.
    std::thread::sleep(Duration::from_millis(500));
    stream.write_all(tail.as_bytes()).unwrap();
    assert!(wait_until(PATIENCE, || !daemon.is_running()), "it lives on, and nobody is answered");
}

#[test]
fn a_daemon_answers_for_its_own_configuration_only() {
    let site = backlog(2);
    let other = site.cluster.dir().join("other.toml");
    let text =
        fs::read_to_string(site.config()).unwrap().replace("stanza = 'main'", "stanza = 'other'");
    write_owned(&other, text.as_bytes());
    let walmgr = |args: &[&str]| {
        let mut command = site.cluster.run_as(site.cluster.dir().join("walmgr"));
        command.current_dir(site.cluster.data_dir()).arg("--config").arg(&other).args(args);
        assert!(command.status().unwrap().success(), "{args:?}");
    };
    // In the other one, too, if there is one: it need not answer just now.
    walmgr(&["--repo", "main", "setup", "--repository-only"]);
    let name = ready(&site).remove(0);
    let _daemon = Daemon::start(&site, "");
    // The socket is where the command looks for one first.
    walmgr(&["archive-push", &format!("pg_wal/{name}")]);
    let stored = site.repository().join("other/wal").join(&name[..8]).join(&name[8..16]);
    assert!(stored.join(&name).exists());
}

#[test]
fn a_daemon_whose_configuration_nobody_can_read_stays_and_acknowledges_nothing() {
    let site = backlog(3);
    let names = ready(&site);
    let push = |at: usize| ["archive-push".to_owned(), format!("pg_wal/{}", names[at])];
    let said = site.cluster.dir().join("said");
    let text = || fs::read_to_string(&said).unwrap();
    let mut daemon = Daemon::saying(&site, "", fs::File::create(&said).unwrap());
    assert_eq!(ask(&site, &names[0]), "\"Done\"\n");
    for (broken, why) in [(Some("stanza = 'main"), "line 1"), (None, "No such file")] {
        match broken {
            Some(text) => {
                // At once: it may look at any time.
                let broken = site.cluster.dir().join("broken");
                fs::write(&broken, text).unwrap();
                fs::rename(&broken, site.config()).unwrap();
            }
            None => fs::remove_file(site.config()).unwrap(),
        }
        assert!(wait_until(PATIENCE, || text().contains(why)), "{}", text());
        assert_eq!(ask(&site, &names[1]), "\"NotMine\"\n");
        site.fails(2, &push(1));
        assert!(daemon.is_running(), "{}", text());
    }
    assert_eq!(text().matches("no WAL is acknowledged").count(), 2, "{}", text());
    // Another takes its place once it could.
    site.configure("");
    assert!(wait_until(PATIENCE, || !daemon.is_running()));
    assert_eq!(daemon.0.wait().unwrap().code(), Some(1), "{}", text());
    let _next = Daemon::start(&site, "");
    assert_eq!(ask(&site, &names[1]), "\"Done\"\n");
}

#[test]
fn what_was_stored_ahead_is_not_acknowledged_for_another_file() {
    let mut site = backlog(4);
    site.cluster.stop(Stop::Fast);
    let wal = site.cluster.data_dir().join("pg_wal");
    let ready = ready(&site);
    let _daemon = Daemon::start(&site, "");
    site.ok(&["archive-push", &format!("pg_wal/{}", ready[0])]);
    // The others are stored although nobody has asked yet.
    assert!(wait_until(PATIENCE, || ready.iter().all(|name| site.object(name).exists())));
    site.ok(&["archive-push", &format!("pg_wal/{}", ready[1])]);
    let path = wal.join(&ready[2]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[900_000] ^= 1;
    write_owned(&path, &bytes);
    let args = ["archive-push", &format!("pg_wal/{}", ready[2])];
    let text = site.fails(5, &args);
    assert!(text.contains("other content"), "{text}");
    // A repository that is gone is an error here as well, and retried afterwards.
    let away = site.cluster.dir().join("away");
    fs::rename(site.repository(), &away).unwrap();
    bytes[900_000] ^= 1;
    write_owned(&path, &bytes);
    site.fails(4, &args);
    fs::rename(&away, site.repository()).unwrap();
    site.ok(&args);
}

#[test]
fn recovery_through_the_daemon_is_ahead_and_never_ends_early() {
    // Another repository would answer while the one is away.
    let mut primary = backlog_in(Site::single, 0);
    primary.ok(&["setup"]);
    primary.ok(&["backup"]);
    for n in 1..=12 {
        primary.cluster.psql("postgres", &format!("insert into t values ({n})"));
        primary.archive_all();
    }
    primary.cluster.stop(Stop::Kill);
    let segments = primary.segments("00000001");
    let mut copy = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    copy.ok(&["restore", "--no-archive"]);

    let daemon = Daemon::start(&copy, "");
    let spool = copy.cluster.data_dir().join("walmgr.spool");
    let get =
        |name: &str| ["archive-get".to_owned(), name.to_owned(), "pg_wal/RECOVERYXLOG".to_owned()];
    copy.ok(&get(&segments[2]));
    assert!(wait_until(PATIENCE, || spool.join(&segments[3]).exists()
        && spool.join(&segments[4]).exists()));
    let away = primary.cluster.dir().join("away");
    fs::rename(primary.repository(), &away).unwrap();
    // What is in the spool is verified and may be had; nothing is said about the rest.
    copy.ok(&get(&segments[3]));
    copy.fails(200, &get(&segments[12]));
    copy.fails(200, &get("0000000100000000000000FF"));
    fs::rename(&away, primary.repository()).unwrap();
    copy.fails(1, &get("0000000100000000000000FF"));
    fs::remove_file(copy.cluster.data_dir().join("pg_wal/RECOVERYXLOG")).unwrap();

    copy.cluster.start_without_waiting();
    let cluster = &copy.cluster;
    let finished = wait_until(PATIENCE, || {
        cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
            client.query_one("select not pg_is_in_recovery()", &[]).is_ok_and(|row| row.get(0))
        })
    });
    assert!(finished, "{}", copy.cluster.log());
    assert_eq!(copy.cluster.psql("postgres", "select count(*) from t"), "12");
    drop(daemon);
}

#[test]
fn a_daemon_of_another_user_is_none() {
    let site = backlog(0);
    let data = site.cluster.data_dir();
    let owner = fs::metadata(&data).unwrap().uid();
    if fs::metadata("/proc/self").unwrap().uid() == owner {
        return;
    }
    let mut daemon = std::process::Command::new(site.cluster.dir().join("walmgr"));
    let output = daemon.arg("--config").arg(site.config()).arg("daemon").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("run the daemon as the server's user"), "{said}");
    for made in ["walmgr.sock", "walmgr.spool", "walmgr.daemon.lock"] {
        assert!(!data.join(made).exists(), "{made}");
    }
}
