//! expire: what goes, what stays restorable, and what an interruption leaves.

use std::os::unix::process::ExitStatusExt;

use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};

use pgq_tests::site::{Site, archiving, said, snapshot};

/// A primary with three backups, a row and some WAL after each.
fn primary() -> Site {
    let site = Site::new(archiving().start());
    site.ok(&["setup"]);
    site.cluster.psql("postgres", "create table t (n int)");
    for n in 1..=3 {
        site.ok(&["backup"]);
        site.cluster.psql("postgres", &format!("insert into t values ({n})"));
        site.archive_all();
    }
    site
}

fn backups(site: &Site) -> Vec<serde_json::Value> {
    serde_json::from_str(&site.ok(&["listbackups", "--json"])).unwrap()
}

/// The newest backup restores, to the end of WAL.
fn assert_restores(primary: &Site, rows: &str) {
    let mut copy = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    copy.ok(&["restore"]);
    copy.cluster.start();
    let cluster = &copy.cluster;
    assert!(wait_until(PATIENCE, || {
        cluster.psql("postgres", "select pg_is_in_recovery()") == "f"
    }));
    assert_eq!(cluster.psql("postgres", "select count(*) from t"), rows, "{}", cluster.log());
}

#[test]
fn expire_says_what_goes_and_keeps_the_rest_restorable() {
    let mut primary = primary();
    let all = backups(&primary);
    let before = snapshot(primary.repository());
    primary.fails(2, &["expire"]);
    let plan = primary.ok(&["expire", "--keep", "2", "--dry-run"]);
    assert_eq!(before, snapshot(primary.repository()), "a dry run changed something");
    assert!(
        plan.contains(&format!("would remove main/backup/{}.json", all[0]["id"].as_str().unwrap()))
    );
    assert!(plan.contains("could not be restored to any more"), "{plan}");
    assert!(!plan.contains(all[1]["id"].as_str().unwrap()), "{plan}");

    primary.ok(&["expire", "--keep", "2"]);
    // Exactly what the plan said.
    let gone: Vec<_> = before
        .iter()
        .filter(|(path, _)| {
            path.is_absolute() && !path.exists() && path.extension().is_none_or(|e| e != "tmp")
        })
        .map(|(path, _)| path.strip_prefix(primary.repository()).unwrap().display().to_string())
        .collect();
    for line in plan.lines().filter_map(|line| line.strip_prefix("would remove ")) {
        assert!(gone.iter().any(|path| path == line), "{line} is still there");
    }
    assert_eq!(backups(&primary), all[1..]);
    let first = all[1]["start_wal"].as_str().unwrap();
    assert_eq!(primary.segments("00000001")[0], first, "WAL from the oldest kept backup on");
    primary.ok(&["verify"]);
    // A backup on which an incremental one builds may go; what they share stays.
    primary.ok(&["backup", "--incremental"]);
    primary.ok(&["expire", "--keep", "1"]);
    assert_eq!(backups(&primary).len(), 1);
    primary.ok(&["expire", "--keep", "1"]);
    primary.ok(&["verify"]);
    primary.cluster.stop(Stop::Fast);
    assert_restores(&primary, "3");
}

#[test]
fn an_interrupted_expire_is_finished_by_the_next() {
    let mut primary = primary();
    for visit in [1, 2, 3, 5] {
        let failpoint = format!("store.removed=kill@{visit}");
        let output = primary.at_failpoint(&failpoint, &["expire", "--keep", "1"]);
        assert_eq!(output.status.signal(), Some(9), "{failpoint}: {}", said(&["expire"], &output));
        for backup in backups(&primary) {
            primary.ok(&["verify", backup["id"].as_str().unwrap()]);
        }
        primary.archive_all();
    }
    primary.ok(&["expire", "--keep", "1"]);
    let last = backups(&primary).pop().unwrap();
    assert_eq!(primary.segments("00000001")[0], last["start_wal"].as_str().unwrap());
    primary.ok(&["verify"]);
    primary.cluster.stop(Stop::Fast);
    assert_restores(&primary, "3");
}

#[test]
fn a_backup_expires_old_ones_and_a_reader_holds_it_off() {
    let primary = primary();
    primary.configure("expire.keep = 2");
    primary.ok(&["backup"]);
    assert_eq!(backups(&primary).len(), 2);
    let lock = primary.repository().join("main/locks/expire");
    let mut reader = primary.cluster.run_as("flock");
    let mut reader =
        reader.args(["--no-fork", "-s"]).arg(&lock).args(["sleep", "600"]).spawn().unwrap();
    let held = wait_until(PATIENCE, || {
        std::process::Command::new("flock")
            .arg("-n")
            .arg(&lock)
            .arg("true")
            .status()
            .is_ok_and(|s| !s.success())
    });
    assert!(held);
    primary.fails(3, &["expire", "--keep", "1"]);
    primary.ok(&["backup"]);
    assert_eq!(backups(&primary).len(), 3);
    reader.kill().unwrap();
    reader.wait().unwrap();
    // The newest is always kept, whatever the rules say.
    primary.configure("expire.window = '0s'");
    primary.ok(&["expire"]);
    assert_eq!(backups(&primary).len(), 1);
}
