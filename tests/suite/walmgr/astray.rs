//! Two timelines in two repositories that do not have the same: no server is led past the branch on
//! the timeline that was left.

use std::fs;

use pgq_tests::site::{Site, said, write_owned};
use pgq_tests::{PATIENCE, Stop, wait_until};

use super::several::{away, place, segments, site};

/// Repositories `a`, which is not required, and `b`. Both have a backup, the WAL of timeline 1 with
/// rows 1 to 3, and the history of timeline 2, which left it after row 2; `b` alone has what is on
/// that: row 4, in several segments. The server has ended.
fn branched() -> Site {
    let mut site = site("required = false\npatience = '20s'", "");
    site.cluster.psql("postgres", "create table t (n int)");
    site.ok(&["--repo", "a", "backup"]);
    for n in 1..=3 {
        site.cluster.psql("postgres", &format!("insert into t values ({n})"));
        site.cluster.psql("postgres", &format!("select pg_create_restore_point('after {n}')"));
        site.archive_all();
    }
    site.ok(&["repository", "copy"]);
    site.cluster.stop(Stop::Fast);
    site.ok(&["restore", "--force", "--to-name", "after 2"]);
    started(&mut site);
    let has = |name: &str| place(&site, name).join("main/wal/00000002.history").exists();
    assert!(wait_until(PATIENCE, || has("a") && has("b")), "{}", site.cluster.log());
    away(&site, "a", true);
    site.cluster.psql("postgres", "insert into t values (4)");
    for _ in 1..=3 {
        site.archive_all();
    }
    let new = |site: &Site, name: &str| {
        segments(site, name).iter().filter(|one| one.starts_with("00000002")).count()
    };
    assert!(wait_until(PATIENCE, || new(&site, "b") > 2), "{}", site.cluster.log());
    site.cluster.stop(Stop::Kill);
    away(&site, "a", false);
    assert_eq!(new(&site, "a"), 0);
    site
}

fn started(site: &mut Site) {
    site.cluster.start_without_waiting();
    let cluster = &mut site.cluster;
    let promoted = wait_until(PATIENCE, || {
        !cluster.is_running()
            || cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
                client.query_one("select not pg_is_in_recovery()", &[]).is_ok_and(|row| row.get(0))
            })
    });
    assert!(promoted && cluster.is_running(), "{}", cluster.log());
}

#[test]
fn a_restore_is_judged_by_the_wal_of_all_repositories() {
    let mut site = branched();
    fs::remove_dir_all(site.cluster.data_dir()).unwrap();
    // By what a has, it would end at the branch; nobody knows that while b is away.
    away(&site, "b", true);
    site.fails(4, &["restore", "-n"]);
    away(&site, "b", false);
    // Nor when b still says which timelines there are, and then not what WAL.
    away(&site, "b/main/wal/00000002", true);
    site.fails(4, &["restore", "-n"]);
    away(&site, "b/main/wal/00000002", false);
    let alone = site.command(&["--repo", "a", "restore", "-n"]).output().unwrap();
    let alone = said(&["restore"], &alone);
    assert_eq!(alone.matches("recovery ends where it begins").count(), 1, "{alone}");

    let output = site.command(&["restore"]).output().unwrap();
    let text = said(&["restore"], &output);
    assert!(output.status.success() && text.contains("from repository \"a\""), "{text}");
    assert!(!text.contains("recovery ends where it begins"), "{text}");
    started(&mut site);
    let rows = "select string_agg(n::text, ' ' order by n) from t";
    assert_eq!(site.cluster.psql("postgres", rows), "1 2 4", "what was acknowledged is lost");
}

#[test]
fn a_copy_killed_anywhere_sends_nobody_past_a_branch() {
    let site = branched();
    write_owned(&site.cluster.data_dir().join("recovery.signal"), b"");
    let first = segments(&site, "b").into_iter().find(|one| one.starts_with("00000002")).unwrap();
    let history = place(&site, "a").join("main/wal/00000002.history");
    fs::remove_file(&history).unwrap();
    let code = |name: &str| {
        let get = ["--repo", "a", "archive-get", name, "got"];
        site.command(&get).output().unwrap().status.code().unwrap()
    };
    assert_eq!(code("00000002.history"), 1);
    let (mut kills, mut seen) = (0, false);
    while code(&first) != 0 {
        let args = ["repository", "copy", "--wal-only", "--from", "b", "--to", "a"];
        // One file more each time; the last one is not followed by another.
        site.at_failpoint("copy.wal=kill@2", &args);
        kills += 1;
        assert!(kills < 100);
        if code("00000002.history") == 0 {
            seen = true;
            // Absent would be the word to go on along timeline 1.
            assert_ne!(code(&first), 1, "after {kills} kills");
        }
    }
    assert!(seen && kills > 2, "{kills} kills");
}
