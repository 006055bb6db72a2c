//! Receiving WAL as it is written: no acknowledged commit is lost, whatever dies.

use std::fs;
use std::path::PathBuf;
use std::process::Child;

use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};

use pgq_tests::site::{Site, archiving};

/// A syncdaemon; it is killed with the value.
struct Receiving(Child);

impl Receiving {
    fn start(site: &Site) -> Self {
        Self(site.command(&["syncdaemon"]).spawn().unwrap())
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A primary whose archive_command throws everything away, and a host that receives from it.
fn pair() -> (Site, Site, PathBuf) {
    let primary = Site::new(archiving().set("archive_command", "/bin/true").start());
    primary.ok(&["setup", "--repository-only"]);
    primary.cluster.psql("postgres", "create table t (n int)");
    let host = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    let spool = host.cluster.dir().join("spool");
    host.configure(&format!(
        "standby.primary_conninfo = \"{}\"\nsync.directory = '{}'",
        primary.cluster.conninfo("postgres"),
        spool.display()
    ));
    (primary, host, spool)
}

fn receives(primary: &Site) -> bool {
    let query = "select exists (select from pg_stat_replication where application_name = 'walmgr' and state = 'streaming')";
    primary.cluster.psql("postgres", query) == "t"
}

/// End a receiver that outlives its walmgr, so that the test leaves nothing behind.
fn end_receiver(spool: &std::path::Path) {
    if let Ok(pid) = fs::read_to_string(spool.join("receiver.pid")) {
        let _ = std::process::Command::new("kill").arg(pid.trim()).output();
    }
}

#[test]
fn a_synchronous_receiver_loses_no_acknowledged_commit() {
    let (primary, mut host, spool) = pair();
    let first = Receiving::start(&host);
    assert!(wait_until(PATIENCE, || receives(&primary)));
    // The backup's own WAL comes into the repository by this way only.
    primary.ok(&["backup"]);
    primary.ok(&["synch-standby", "walmgr"]);
    for n in 1..=20 {
        primary.cluster.psql("postgres", &format!("insert into t values ({n})"));
        if n % 5 == 0 {
            primary.cluster.psql("postgres", "select pg_switch_wal()");
        }
    }
    // Killed, and started again: nothing is missing, and the receiver left behind does not stand in
    // its way.
    let pid = || fs::read_to_string(spool.join("receiver.pid")).unwrap_or_default();
    let left_behind = pid();
    drop(first);
    let second = Receiving::start(&host);
    // It has the spool to itself before it starts a receiver; a sync that came before would have it
    // instead.
    assert!(wait_until(PATIENCE, || pid() != left_behind));
    host.fails(3, &["sync"]);
    for n in 21..=30 {
        primary.cluster.psql("postgres", &format!("insert into t values ({n})"));
    }
    let mut primary = primary;
    primary.cluster.stop(Stop::Kill);
    drop(second);
    end_receiver(&spool);

    // The last segment was never finished: without the spool, its rows would be lost.
    let unfinished = fs::read_dir(&spool)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .find_map(|name| name.strip_suffix(".partial").map(str::to_owned))
        .expect("a growing segment");
    assert!(!host.object(&unfinished).exists());
    host.ok(&["restore", "--no-archive", "--partial-from", spool.to_str().unwrap()]);
    host.cluster.start_without_waiting();
    let cluster = &host.cluster;
    let finished = wait_until(PATIENCE, || {
        cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
            client.query_one("select not pg_is_in_recovery()", &[]).is_ok_and(|row| row.get(0))
        })
    });
    assert!(finished, "{}", cluster.log());
    assert_eq!(cluster.psql("postgres", "select count(*) from t"), "30", "{}", cluster.log());
    host.ok(&["verify"]);
}

#[test]
fn sync_brings_the_spool_up_to_now_and_stores_what_is_whole() {
    let (primary, host, spool) = pair();
    host.ok(&["sync", "-n"]);
    assert!(!spool.exists());
    host.ok(&["sync"]);
    primary.cluster.psql("postgres", "insert into t values (1)");
    let name = primary.cluster.psql("postgres", "select pg_walfile_name(pg_switch_wal())");
    primary.cluster.psql("postgres", "insert into t values (2)");
    // The repository is away for a while; what was received waits in the spool.
    let away = primary.cluster.dir().join("away");
    fs::rename(primary.repository(), &away).unwrap();
    host.fails(4, &["sync"]);
    fs::rename(&away, primary.repository()).unwrap();
    host.ok(&["sync"]);
    assert!(host.object(&name).exists());
    let growing: Vec<_> = fs::read_dir(&spool)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".partial"))
        .collect();
    assert_eq!(growing.len(), 1);
    // The unfinished segment is given out only on request, and only for what it is.
    let unfinished = growing[0].trim_end_matches(".partial");
    host.absent(&["archive-get", unfinished, "fetched"]);
    host.ok(&["archive-get", unfinished, "fetched", "--partial", spool.to_str().unwrap()]);
    assert_eq!(fs::metadata(host.cluster.dir().join("fetched")).unwrap().len(), 1 << 20);
    host.absent(&["archive-get", "0000000100000000000000FF", "fetched", "--partial", "spool"]);
}

#[test]
fn a_receiver_whose_configuration_nobody_can_read_goes_on_receiving_and_stores_nothing() {
    let (primary, host, spool) = pair();
    let said = host.cluster.dir().join("said");
    let mut command = host.command(&["syncdaemon"]);
    command.stderr(fs::File::create(&said).unwrap());
    let mut receiving = Receiving(command.spawn().unwrap());
    assert!(wait_until(PATIENCE, || receives(&primary)));
    let switch = || {
        primary.cluster.psql("postgres", "insert into t values (1)");
        primary.cluster.psql("postgres", "select pg_walfile_name(pg_switch_wal())")
    };
    let before = switch();
    assert!(wait_until(PATIENCE, || host.object(&before).exists()));
    let text = fs::read_to_string(host.config()).unwrap();
    // At once: it may look at any time.
    let broken = host.cluster.dir().join("broken");
    fs::write(&broken, "stanza = 'main").unwrap();
    fs::rename(&broken, host.config()).unwrap();
    let times = || fs::read_to_string(&said).unwrap().matches("no WAL is acknowledged").count();
    assert!(wait_until(PATIENCE, || times() > 0));
    let (first, second) = (switch(), switch());
    assert!(wait_until(PATIENCE, || spool.join(&second).exists()), "nothing is received");
    assert!(spool.join(&first).exists() && !host.object(&first).exists());
    assert!(receiving.0.try_wait().unwrap().is_none() && receives(&primary));
    assert_eq!(times(), 1);

    fs::write(host.config(), text).unwrap();
    let mut ended = None;
    let has_ended = wait_until(PATIENCE, || {
        ended = receiving.0.try_wait().unwrap();
        ended.is_some()
    });
    assert!(has_ended && ended.unwrap().code() == Some(1), "{ended:?}");
    let _next = Receiving::start(&host);
    assert!(wait_until(PATIENCE, || host.object(&first).exists() && receives(&primary)));
}
