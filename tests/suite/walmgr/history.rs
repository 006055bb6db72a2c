//! Several timelines in one archive: which backup a restore takes, what an expire leaves, what is
//! said about it.

use std::fs;

use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};

use pgq_tests::site::{Site, archiving, write_owned};

fn primary() -> Site {
    primary_in(Site::new)
}

fn primary_in(site: fn(Cluster) -> Site) -> Site {
    let site = site(archiving().start());
    site.ok(&["setup"]);
    site.cluster.psql("postgres", "create table t (n int)");
    site
}

/// Insert a row, and set a restore point after it.
fn row(site: &Site, n: i32) {
    site.cluster.psql("postgres", &format!("insert into t values ({n})"));
    site.cluster.psql("postgres", &format!("select pg_create_restore_point('after {n}')"));
    site.archive_all();
}

/// Take a backup; its id.
fn backup(site: &Site) -> String {
    site.ok(&["backup"]);
    let taken: Vec<String> = backups(site);
    let text = fs::read_dir(site.repository().join("main/backup")).unwrap();
    let newest = text
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"))
        .max_by_key(|entry| entry.metadata().unwrap().modified().unwrap())
        .unwrap();
    let id = newest.file_name().into_string().unwrap().trim_end_matches(".json").to_owned();
    assert!(taken.contains(&id));
    id
}

/// Ids of all backups as they are listed.
fn backups(site: &Site) -> Vec<String> {
    let list: serde_json::Value =
        serde_json::from_str(&site.ok(&["listbackups", "--json"])).unwrap();
    list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// Start what was restored, and wait until it is a primary.
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

fn rows(site: &Site) -> String {
    site.cluster.psql("postgres", "select string_agg(n::text, ' ' order by n) from t")
}

/// Restore in place, as after a mistake.
fn go_back(site: &mut Site, args: &[&str]) {
    site.cluster.stop(Stop::Fast);
    site.ok(&[&["restore", "--force"], args].concat());
    started(site);
}

/// Restore into another place, start that, and say which rows it has.
fn restored(site: &Site, args: &[&str]) -> String {
    let mut copy = Site::beside(Cluster::empty(Tree::Ours), site.repository());
    copy.ok(&[&["restore", "--no-archive"], args].concat());
    started(&mut copy);
    rows(&copy)
}

/// Where a restore would begin, and what it says besides.
fn planned(site: &Site, args: &[&str]) -> String {
    let copy = Site::beside(Cluster::empty(Tree::Ours), site.repository());
    let output = copy.command(&[&["restore", "-n"], args].concat()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn refused(site: &Site, args: &[&str]) -> String {
    let copy = Site::beside(Cluster::empty(Tree::Ours), site.repository());
    copy.fails(1, &[&["restore", "-n"], args].concat())
}

#[test]
fn after_a_restore_to_the_past_the_present_can_be_restored_and_is_not_expired() {
    let mut site = primary();
    row(&site, 1);
    let first = backup(&site);
    row(&site, 2);
    row(&site, 3);
    let second = backup(&site);
    // The third row was a mistake.
    go_back(&mut site, &["--to-name", "after 2", first.as_str()]);
    row(&site, 4);
    assert_eq!(rows(&site), "1 2 4");

    let plan = planned(&site, &[]);
    assert!(plan.contains(&format!("backup {first}")), "{plan}");
    assert!(plan.contains(&format!("backup {second} (timeline 1")), "{plan}");
    assert!(plan.contains("--timeline 1 restores that one"), "{plan}");
    assert_eq!(restored(&site, &[]), "1 2 4");
    assert_eq!(restored(&site, &["--timeline", "1"]), "1 2 3");
    let text = refused(&site, &[&second]);
    assert!(text.contains("is not on the way to timeline 2"), "{text}");
    assert!(text.contains("--timeline 1 restores it"), "{text}");
    let text = refused(&site, &["--timeline", "7"]);
    assert!(text.contains("which has 1, 2"), "{text}");

    let text =
        String::from_utf8_lossy(&site.command(&["expire", "--keep", "1"]).output().unwrap().stderr)
            .into_owned();
    assert!(text.contains(&format!("backup {first} is kept")), "{text}");
    assert_eq!(backups(&site), [first.clone(), second.clone()]);
    assert_eq!(restored(&site, &[]), "1 2 4");
    // What lies between the branch and the backup that was left behind is gone, and nobody misses
    // it.
    site.ok(&["verify"]);

    // With a backup on the new timeline, the old ones may go.
    let third = backup(&site);
    assert_eq!(restored(&site, &["--timeline", "1"]), "1 2 3");
    site.ok(&["expire", "--keep", "1"]);
    assert_eq!(backups(&site), [third]);
    assert!(site.segments("00000001").is_empty());
    assert_eq!(restored(&site, &[]), "1 2 4");
    site.ok(&["verify"]);
}

#[test]
fn a_copy_that_was_promoted_does_not_hide_the_primary() {
    let site = primary();
    row(&site, 1);
    let first = backup(&site);
    // Restored to look at something, and promoted: it archives its own timeline.
    let mut copy = Site::beside(Cluster::empty(Tree::Ours), site.repository());
    copy.ok(&["restore"]);
    started(&mut copy);
    row(&copy, 100);
    copy.cluster.stop(Stop::Fast);
    row(&site, 2);
    let second = backup(&site);
    row(&site, 3);

    let plan = planned(&site, &[]);
    assert!(plan.contains(&format!("restore backup {first}")), "{plan}");
    assert!(plan.contains(&format!("backup {second} (timeline 1")), "{plan}");
    assert_eq!(restored(&site, &[]), "1 100");
    assert_eq!(restored(&site, &["--timeline", "1"]), "1 2 3");
    assert_eq!(restored(&site, &["--timeline", "current"]), "1 2 3");

    // A standby of the primary follows the primary.
    let standby = Site::beside(Cluster::empty(Tree::Ours), site.repository());
    let conninfo = site.cluster.conninfo("postgres");
    standby.configure(&format!("standby.primary_conninfo = \"{conninfo}\""));
    let output = standby.command(&["createslave", "--no-start"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("keeps to timeline 1"), "{text}");
    let mut standby = standby;
    standby.cluster.start();
    row(&site, 4);
    assert!(wait_until(PATIENCE, || rows(&standby) == "1 2 3 4"), "{}", standby.cluster.log());
    standby.cluster.stop(Stop::Fast);

    // Without a backup before the branch, nothing leads to the newest timeline.
    let json = site.repository().join(format!("main/backup/{first}.json"));
    fs::remove_file(json).unwrap();
    let text = refused(&site, &[]);
    assert!(text.contains("on the way to timeline 2"), "{text}");
    assert!(text.contains("--timeline 1 restores it"), "{text}");
}

/// Only the history file of the new timeline is archived yet, and the old one goes on past the
/// branch.
#[test]
fn a_timeline_that_has_only_begun_is_not_confused_with_the_one_it_left() {
    let mut site = primary();
    backup(&site);
    for n in 1..=3 {
        row(&site, n);
    }
    site.cluster.stop(Stop::Fast);
    site.ok(&["restore", "--force", "--to-name", "after 2"]);
    started(&mut site);
    let history = site.repository().join("main/wal/00000002.history");
    assert!(wait_until(PATIENCE, || history.exists()), "{}", site.cluster.log());
    site.cluster.stop(Stop::Kill);
    let mine = site.repository().join("main/wal/00000002");
    assert!(site.segments("00000002").is_empty(), "{}", mine.display());
    assert_eq!(restored(&site, &[]), "1 2");
    assert_eq!(restored(&site, &["--timeline", "1"]), "1 2 3");
    let text = refused(&site, &["--to-time", "2030-01-01 00:00:00Z"]);
    assert!(text.contains("--exclusive restores to there"), "{text}");
}

/// A server that goes back twice, the second time further, writes a history file whose positions
/// descend.
#[test]
fn one_can_go_back_further_each_time() {
    let mut site = primary();
    let first = backup(&site);
    for n in 1..=4 {
        row(&site, n);
    }
    go_back(&mut site, &["--to-name", "after 3"]);
    row(&site, 5);
    go_back(&mut site, &["--to-name", "after 1", first.as_str()]);
    row(&site, 6);
    assert_eq!(rows(&site), "1 6");
    let history = site.repository().join("main/wal/00000003.history");
    assert!(wait_until(PATIENCE, || history.exists()), "{}", site.cluster.log());
    assert_eq!(restored(&site, &[]), "1 6");
    assert_eq!(restored(&site, &["--timeline", "2"]), "1 2 3 5");
    assert_eq!(restored(&site, &["--timeline", "1"]), "1 2 3 4");
    site.ok(&["verify"]);
}

/// The clock was ten years ahead when the backup was taken.
fn ten_years_ahead(site: &Site, id: &str) -> String {
    let directory = site.repository().join("main/backup");
    let ahead = |text: &str| {
        let year: i32 = text[..4].parse().unwrap();
        format!("{}{}", year + 10, &text[4..])
    };
    let new = ahead(id);
    let path = directory.join(format!("{id}.json"));
    let mut info: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    info["id"] = new.clone().into();
    for time in ["start_time", "stop_time"] {
        info[time] = ahead(info[time].as_str().unwrap()).into();
    }
    let manifest = |id: &str| directory.join(format!("{id}.manifest"));
    fs::rename(manifest(id), manifest(&new)).unwrap();
    write_owned(&directory.join(format!("{new}.json")), info.to_string().as_bytes());
    fs::remove_file(path).unwrap();
    new
}

#[test]
fn a_backup_from_the_future_is_not_the_newest_for_that() {
    let site = primary_in(Site::plain);
    row(&site, 1);
    let first = backup(&site);
    let odd = ten_years_ahead(&site, &first);
    row(&site, 2);
    let second = backup(&site);
    row(&site, 3);
    assert_eq!(backups(&site), [odd.clone(), second.clone()]);
    let plan = planned(&site, &[]);
    assert!(plan.contains(&format!("backup {second}")), "{plan}");
    site.ok(&["check", "--max-backup-age", "1h"]);
    let text = site.ok(&["info"]);
    assert!(text.contains(&second), "{text}");
    // What only it needed does not stay until then, nor what a run left that broke off.
    let left = site.repository().join(format!("main/pack/{odd}/00000"));
    let made = site.cluster.run_as("mkdir").arg(left.parent().unwrap()).status().unwrap();
    assert!(made.success());
    write_owned(&left, b"x");
    let manifest = site.repository().join(format!("main/backup/{odd}.manifest"));
    assert!(manifest.exists());
    site.ok(&["expire", "--keep", "1"]);
    assert_eq!(backups(&site), [second]);
    assert!(!left.exists() && !manifest.exists());
    assert_eq!(restored(&site, &[]), "1 2 3");
    // One that is the newest is no proof that there was a backup lately.
    let third = backup(&site);
    ten_years_ahead(&site, &third);
    site.fails(9, &["check", "--max-backup-age", "1h"]);
}

#[test]
fn a_name_or_a_transaction_takes_the_newest_backup_before_it() {
    let site = primary();
    let first = backup(&site);
    row(&site, 1);
    let transaction = site
        .cluster
        .psql("postgres", "insert into t values (2) returning pg_current_xact_id()::text");
    let second = backup(&site);
    row(&site, 3);
    row(&site, 4);
    for (target, taken, expected) in [
        (["--to-name", "after 1"], &first, "1"),
        (["--to-xid", transaction.as_str()], &first, "1 2"),
        (["--to-name", "after 3"], &second, "1 2 3"),
    ] {
        let plan = planned(&site, &target);
        assert!(plan.contains(&format!("restore backup {taken}")), "{target:?}: {plan}");
        assert_eq!(restored(&site, &target), expected, "{target:?}");
    }
    let text = refused(&site, &["--to-name", "never"]);
    assert!(text.contains("restore point \"never\" is not in the archived WAL"), "{text}");
    // An operator may know better: it may be in WAL that is still to come.
    planned(&site, &["--to-name", "never", &second]);
}

#[test]
fn a_hole_is_said_and_what_lies_behind_it_refused() {
    let site = primary();
    let first = backup(&site);
    site.cluster.psql("postgres", "insert into t values (1)");
    let before = site.cluster.psql("postgres", "select pg_current_wal_insert_lsn()");
    site.archive_all();
    row(&site, 2);
    row(&site, 3);
    site.ok(&["check"]);
    let names = site.segments("00000001");
    let lost = &names[names.len() - 2];
    let bytes = fs::read(site.object(lost)).unwrap();
    fs::remove_file(site.object(lost)).unwrap();
    let text = refused(&site, &[]);
    assert!(text.contains(lost), "{text}");
    let text = site.fails(6, &["check"]);
    assert!(text.contains("the present cannot be restored") && text.contains(lost), "{text}");
    let text = site.ok(&["info"]);
    assert!(text.contains(&format!("where {lost} is MISSING")), "{text}");
    let text = site.fails(6, &["verify"]);
    assert!(text.contains(lost), "{text}");
    // What lies before it can be had, and a named backup is the operator's choice.
    assert_eq!(restored(&site, &["--to-lsn", &before]), "1");
    planned(&site, &[&first]);
    // A new backup makes the present safe; the hole stays known.
    backup(&site);
    site.ok(&["check"]);
    let text = site.ok(&["info"]);
    assert_eq!(text.matches("can be restored from").count(), 2, "{text}");
    write_owned(&site.object(lost), &bytes);
    site.ok(&["verify"]);
    assert_eq!(site.ok(&["info"]).matches("can be restored from").count(), 1);
}

#[test]
fn info_and_check_say_what_leads_where() {
    let mut site = primary();
    row(&site, 1);
    let first = backup(&site);
    row(&site, 2);
    let second = backup(&site);
    go_back(&mut site, &["--to-name", "after 2", first.as_str()]);
    row(&site, 3);
    let info: serde_json::Value = serde_json::from_str(&site.ok(&["info", "--json"])).unwrap();
    assert_eq!(info["newest_timeline"], 2);
    assert_eq!(info["abandoned"][0], second.as_str());
    assert_eq!(info["timelines"][1]["parent"], 1);
    assert_eq!(info["timelines"][1]["restorable"][0]["first_backup"], first.as_str());
    assert_eq!(info["timelines"][0]["restorable"][0]["last_backup"], second.as_str());
    let text = site.ok(&["info"]);
    assert!(text.contains("timeline 2 (left timeline 1 at "), "{text}");
    assert!(text.contains(&format!("{second} (timeline 1)")), "{text}");
    let text = site.ok(&["check"]);
    assert!(text.contains(&format!("ok: newest backup {first}")), "{text}");
    assert!(text.contains(&format!("backup {second} (timeline 1) is not on the way")), "{text}");
    assert!(site.ok(&["verify"]).contains("is not on the way to timeline 2"));

    // Nothing leads to the present: nobody is content.
    fs::remove_file(site.repository().join(format!("main/backup/{first}.json"))).unwrap();
    let text = site.fails(1, &["check"]);
    assert!(text.contains("no backup leads to timeline 2"), "{text}");
    let text = site.fails(6, &["verify"]);
    assert!(text.contains("no backup leads to timeline 2"), "{text}");
    assert!(site.ok(&["info"]).contains("cannot be restored: no backup leads to it"));
    // And nothing of its WAL is expired.
    let before = site.segments("00000002");
    site.ok(&["expire", "--keep", "1"]);
    assert_eq!(site.segments("00000002"), before);
}
