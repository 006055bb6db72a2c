//! Standbys: creating, pausing, choosing as synchronous, backing up, promoting.

use std::fs;
use std::path::PathBuf;

use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};

use pgq_tests::site::{Site, archiving};

/// A server that walmgr starts by itself; it is stopped with the value.
struct OwnServer<'a>(&'a Site);

impl OwnServer<'_> {
    fn pg_ctl(site: &Site) -> PathBuf {
        site.cluster.tree().bin().join("pg_ctl")
    }

    /// Lines of configuration that start and stop the site's server.
    fn configuration(site: &Site) -> String {
        let dir = site.cluster.dir().display();
        format!(
            "commands.start = \"\"\"{} -D {dir}/data -w -t 180 -l {dir}/log start \
             -o '-c port={} -c unix_socket_directories={dir}'\"\"\"",
            Self::pg_ctl(site).display(),
            site.cluster.port()
        )
    }
}

impl Drop for OwnServer<'_> {
    fn drop(&mut self) {
        let mut stop = self.0.cluster.run_as(Self::pg_ctl(self.0));
        let _ = stop
            .arg("-D")
            .arg(self.0.cluster.data_dir())
            .args(["-m", "immediate", "stop"])
            .output();
    }
}

fn primary() -> Site {
    let site = Site::new(archiving().start());
    site.ok(&["setup"]);
    site.cluster.psql("postgres", "create table t (n int)");
    site
}

fn standby_of(primary: &Site) -> Site {
    let standby = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    let conninfo = primary.cluster.conninfo("postgres");
    standby.configure(&format!(
        "{}\nstandby.primary_conninfo = \"{conninfo} application_name=second\"\nstandby.slot = 'second'",
        OwnServer::configuration(&standby)
    ));
    standby
}

#[test]
fn a_standby_is_created_paused_made_synchronous_saved_and_promoted() {
    let mut primary = primary();
    primary.ok(&["backup"]);
    primary.cluster.psql("postgres", "insert into t values (1)");
    let standby = standby_of(&primary);
    standby.ok(&["createslave", "--dry-run"]);
    assert!(!standby.cluster.data_dir().exists());
    standby.ok(&["createslave"]);
    let _server = OwnServer(&standby);
    let count = || standby.cluster.psql("postgres", "select count(*) from t");
    assert!(wait_until(PATIENCE, || count() == "1"));
    let slots =
        primary.cluster.psql("postgres", "select slot_name, active from pg_replication_slots");
    assert_eq!(slots, "second|t");
    standby.fails(3, &["createslave", "--force"]);

    standby.ok(&["pause"]);
    primary.cluster.psql("postgres", "insert into t values (2)");
    let received = "select pg_last_wal_receive_lsn() >= (select pg_last_wal_replay_lsn())";
    assert_eq!(standby.cluster.psql("postgres", received), "t");
    assert_eq!(count(), "1");
    standby.ok(&["continue"]);
    assert!(wait_until(PATIENCE, || count() == "2"));
    primary.fails(2, &["pause"]);

    primary.fails(1, &["synch-standby", "third"]);
    primary.fails(2, &["synch-standby", "SOME 1 (second)"]);
    primary.ok(&["synch-standby", "ANY 1 (second, third)"]);
    let state = "select sync_state from pg_stat_replication";
    assert_eq!(primary.cluster.psql("postgres", state), "quorum");
    primary.ok(&["synch-standby", ""]);
    assert_eq!(primary.cluster.psql("postgres", "show synchronous_standby_names"), "");

    // A backup of the standby; its primary finishes the last segment.
    let mut backup = standby.command(&["backup"]).spawn().unwrap();
    assert!(wait_until(PATIENCE, || {
        primary.archive_all();
        backup.try_wait().unwrap().is_some()
    }));
    assert!(backup.wait().unwrap().success());
    let list: serde_json::Value =
        serde_json::from_str(&standby.ok(&["listbackups", "--json"])).unwrap();
    assert_eq!(list[1]["from_standby"], true);

    primary.cluster.psql("postgres", "insert into t values (3)");
    primary.archive_all();
    primary.cluster.stop(Stop::Fast);
    standby.ok(&["boot"]);
    assert_eq!(count(), "3");
    standby.fails(2, &["boot"]);
    standby.ok(&["setup"]);
    standby.ok(&["check"]);
    standby.cluster.psql("postgres", "insert into t values (4)");
    standby.archive_all();
    assert!(!standby.segments("00000002").is_empty());
    // The end of the old timeline came with the promotion, as what it is.
    let partial = |(path, _): &(PathBuf, _)| path.to_string_lossy().contains(".partial.");
    let wal = standby.repository().join("main/wal/00000001");
    assert_eq!(pgq_tests::site::snapshot(&wal).iter().filter(|file| partial(file)).count(), 1);
    standby.ok(&["verify"]);

    // The standby's backup from before the promotion leads onto the new timeline.
    let mut copy = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    copy.ok(&["restore", "--no-archive"]);
    copy.cluster.start_without_waiting();
    let cluster = &copy.cluster;
    let restored = wait_until(PATIENCE, || {
        cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
            client
                .query_one("select count(*) = 4 and not pg_is_in_recovery() from t", &[])
                .is_ok_and(|row| row.get(0))
        })
    });
    assert!(restored, "{}", copy.cluster.log());
    // And a standby can be made of the old primary, keeping what is the same.
    copy.cluster.stop(Stop::Fast);
    let conninfo = standby.cluster.conninfo("postgres");
    primary.configure(&format!(
        "{}\nstandby.primary_conninfo = \"{conninfo}\"",
        OwnServer::configuration(&primary)
    ));
    primary.fails(2, &["createslave"]);
    primary.ok(&["createslave", "--delta"]);
    let _old = OwnServer(&primary);
    assert!(
        wait_until(PATIENCE, || primary.cluster.psql("postgres", "select count(*) from t") == "4")
    );
}

#[test]
fn a_standby_can_be_copied_from_its_primary() {
    let primary = primary();
    primary.cluster.psql("postgres", "insert into t values (1)");
    let standby = standby_of(&primary);
    standby.fails(1, &["createslave"]); // no backup yet
    standby.ok(&["createslave", "--from-primary"]);
    let _server = OwnServer(&standby);
    assert!(
        wait_until(PATIENCE, || standby.cluster.psql("postgres", "select count(*) from t") == "1")
    );
    assert!(standby.cluster.data_dir().join("standby.signal").exists());
}

#[test]
fn a_standby_has_settings_of_its_own_and_says_where_its_server_complains() {
    let primary = primary();
    primary.ok(&["backup"]);
    let standby = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    let conninfo = primary.cluster.conninfo("postgres");
    standby.configure(&format!("standby.primary_conninfo = \"{conninfo}\""));
    let port = standby.cluster.port().to_string();
    let directory = format!("unix_socket_directories={}", standby.cluster.dir().display());
    let own =
        ["createslave", "--port", &port, "--setting", &directory, "--setting", "listen_addresses="];
    standby.fails(2, &[&own[..], &["--setting", "nonsense"]].concat());
    let text = standby.fails(1, &[&own[..], &["--setting", "shared_buffers=nonsense"]].concat());
    let log = standby.cluster.data_dir().join("walmgr-start.log");
    assert!(text.contains(&log.display().to_string()), "{text}");
    assert!(fs::read_to_string(log).unwrap().contains("shared_buffers"));
    standby.ok(&[&own[..], &["--force"]].concat());
    let _server = OwnServer(&standby);
    assert_eq!(standby.cluster.psql("postgres", "select pg_is_in_recovery()"), "t");
}

#[test]
fn check_info_stop_periodic_and_cleanup_do_what_they_say() {
    let primary = primary();
    primary.ok(&["check"]);
    primary.fails(1, &["check", "--max-backup-age", "1h"]);
    primary.ok(&["backup"]);
    primary.ok(&["check", "--max-backup-age", "1h"]);
    let info: serde_json::Value = serde_json::from_str(&primary.ok(&["info", "--json"])).unwrap();
    assert_eq!(info["timelines"][0]["missing"], 0);
    assert_eq!(info["backups"].as_array().unwrap().len(), 1);
    assert!(
        primary
            .ok(&["info", "--prometheus"])
            .contains("walmgr_backups{stanza=\"main\",repository=\"main\"} 1")
    );
    // A hole in the archive is seen by everyone who looks.
    primary.archive_all();
    primary.archive_all();
    let segments = primary.segments("00000001");
    let object = primary.object(&segments[segments.len() - 2]);
    let bytes = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    assert!(primary.ok(&["info"]).contains("1 MISSING"));
    primary.fails(6, &["verify"]);
    pgq_tests::site::write_owned(&object, &bytes);

    let mark = primary.cluster.dir().join("mark");
    primary.configure(&format!(
        "commands.periodic = 'echo x >> {}'\ncommands.periodic_interval = '1h'",
        mark.display()
    ));
    primary.ok(&["periodic", "-n"]);
    assert!(!mark.exists());
    primary.ok(&["periodic"]);
    primary.ok(&["periodic"]);
    assert_eq!(fs::read_to_string(&mark).unwrap(), "x\n");
    primary.configure("commands.periodic = 'exit 3'");
    primary.fails(1, &["periodic"]);

    let plan = primary.ok(&["cleanup"]);
    assert!(plan.contains("would remove main/stanza.json"), "{plan}");
    primary.fails(3, &["cleanup", "--yes"]);
    primary.ok(&["stop"]);
    primary.fails(2, &["check"]);
    primary.ok(&["cleanup", "--yes"]);
    primary.fails(4, &["info"]);
    primary.ok(&["setup"]);
    primary.ok(&["check"]);
}
