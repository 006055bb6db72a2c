//! Pinned backups stay, restore to their own end, and say so; what was expired is no hole.

use std::os::unix::process::ExitStatusExt;

use pgq_tests::site::{Site, archiving, said, snapshot, write_owned};
use pgq_tests::{Cluster, PATIENCE, wait_until};

use crate::walmgr::backup::{started, target};

/// A primary with as many backups, and after each a row and some WAL.
fn primary(backups: usize) -> (Site, Vec<String>) {
    primary_in(Site::new, backups)
}

fn primary_in(site: fn(Cluster) -> Site, backups: usize) -> (Site, Vec<String>) {
    let site = site(archiving().start());
    site.ok(&["setup"]);
    site.cluster.psql("postgres", "create table t (n int)");
    for n in 1..=backups {
        site.ok(&["backup"]);
        site.cluster.psql("postgres", &format!("insert into t values ({n})"));
        site.archive_all();
        site.archive_all();
    }
    let ids = ids(&site);
    (site, ids)
}

fn list(site: &Site) -> serde_json::Value {
    serde_json::from_str(&site.ok(&["listbackups", "--json"])).unwrap()
}

fn ids(site: &Site) -> Vec<String> {
    let list = list(site);
    let ids = list.as_array().unwrap().iter();
    ids.map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
}

fn rows(site: &Site) -> String {
    site.cluster.psql("postgres", "select count(*) from t")
}

#[test]
fn a_pinned_backup_stays_and_restores_to_its_own_end() {
    let (primary, ids) = primary(3);
    let before = snapshot(primary.repository());
    primary.ok(&["pin", &ids[0], "--dry-run"]);
    assert_eq!(before, snapshot(primary.repository()), "a dry run changed something");
    primary.fails(1, &["pin", "20000101T000000Z"]);
    primary.fails(2, &["pin", &ids[0], "--until", "2001-01-01"]);
    primary.ok(&["pin", &ids[0], "--reason", "before the move"]);
    assert!(primary.ok(&["listbackups"]).contains("[pinned: before the move]"));
    assert!(primary.ok(&["info"]).contains("is pinned: before the move"));

    primary.ok(&["expire", "--keep", "1"]);
    let left = list(&primary);
    assert_eq!(self::ids(&primary), [ids[0].clone(), ids[2].clone()]);
    assert_eq!(left[0]["pin"]["reason"], "before the move", "{left}");
    assert_eq!((&left[0]["standalone"], &left[1]["standalone"]), (&true.into(), &().into()));
    // Of its WAL, only what it needs itself.
    let name = |at: usize, field: &str| left[at][field].as_str().unwrap().to_owned();
    let segments = primary.segments("00000001");
    let between: Vec<_> = segments
        .iter()
        .filter(|segment| **segment > name(0, "stop_wal") && **segment < name(1, "start_wal"))
        .collect();
    assert!(between.is_empty(), "{between:?}");
    assert!(segments.contains(&name(0, "start_wal")) && segments.contains(&name(0, "stop_wal")));
    // That is no hole to anybody.
    primary.ok(&["verify"]);
    assert!(!primary.ok(&["info"]).contains("MISSING"));
    let checked = primary.command(&["check"]).output().unwrap();
    assert!(checked.status.success() && !said(&["check"], &checked).contains("missing"));
    assert!(
        primary
            .ok(&["info", "--prometheus"])
            .contains("walmgr_wal_segments_missing{stanza=\"main\",repository=\"main\"} 0")
    );

    let mut copy = target(&primary);
    let said = copy.fails(1, &["restore", "--no-archive", &ids[0]]);
    assert!(said.contains("--immediate"), "{said}");
    let time = name(1, "start_time");
    let said = copy.fails(1, &["restore", "--no-archive", "--to-time", &time]);
    assert!(said.contains(&ids[0]) && said.contains("--immediate"), "{said}");
    copy.ok(&["restore", "--no-archive", &ids[0], "--immediate"]);
    started(&mut copy);
    assert_eq!(rows(&copy), "0");
    let mut newest = target(&primary);
    newest.ok(&["restore", "--no-archive"]);
    started(&mut newest);
    assert_eq!(rows(&newest), "3");

    // Left to the rules it goes, with its WAL and all that was said of it.
    primary.ok(&["unpin", &ids[0]]);
    primary.ok(&["expire", "--keep", "1"]);
    assert_eq!(self::ids(&primary), [ids[2].clone()]);
    assert_eq!(primary.segments("00000001")[0], name(1, "start_wal"));
    let names = std::fs::read_dir(primary.repository().join("main/backup")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with(&ids[0])), "{names:?}");
}

#[test]
fn tiers_keep_a_backup_of_each_of_the_last_days() {
    let (primary, ids) = primary_in(Site::plain, 4);
    // As if they had been taken on three days, in a zone where the day begins at 23:00 UTC.
    let times = ["20T22:59:00Z", "20T23:30:00Z", "21T22:30:00Z", "22T23:30:00Z"];
    for (id, time) in ids.iter().zip(times) {
        let path = primary.repository().join(format!("main/backup/{id}.json"));
        let mut info: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        info["stop_time"] = format!("2026-01-{time}").into();
        write_owned(&path, info.to_string().as_bytes());
    }
    primary.configure("expire.daily = 2");
    let said = primary.fails(2, &["expire"]);
    assert!(said.contains("expire.window"), "{said}");
    primary.configure("expire.keep = 1\nexpire.daily = 3\nexpire.time_zone = 'Europe/Berlin'");
    primary.ok(&["expire"]);
    assert_eq!(self::ids(&primary), [ids[0].clone(), ids[2].clone(), ids[3].clone()]);
    // By UTC, the first two are of one day.
    primary.configure("expire.keep = 1\nexpire.daily = 2");
    primary.ok(&["expire"]);
    assert_eq!(self::ids(&primary), [ids[2].clone(), ids[3].clone()]);
    primary.ok(&["verify"]);
    let mut copy = target(&primary);
    copy.ok(&["restore", "--no-archive", &ids[2], "--immediate"]);
    started(&mut copy);
    assert_eq!(rows(&copy), "2");
    // A backup applies them as well.
    primary.ok(&["backup"]);
    let left = self::ids(&primary);
    assert!(left.contains(&ids[3]) && !left.contains(&ids[2]), "{left:?}");
}

#[test]
fn a_pin_that_is_replaced_is_never_gone_and_ends_when_it_says() {
    let (primary, ids) = primary(2);
    primary.ok(&["pin", &ids[0], "--until", "2999-01-01T00:00:00Z"]);
    let args = ["pin", ids[0].as_str(), "--until", "2998-01-01T00:00:00Z"];
    let output = primary.at_failpoint("store.removed=kill@1", &args);
    assert_eq!(output.status.signal(), Some(9), "{}", said(&args, &output));
    assert_eq!(list(&primary)[0]["pin"]["until"], "2998-01-01T00:00:00Z");
    primary.ok(&["expire", "--keep", "1"]);
    assert_eq!(self::ids(&primary), ids);
    primary.ok(&["unpin", &ids[0]]);
    assert_eq!(list(&primary)[0]["pin"], serde_json::Value::Null);

    let soon = primary.cluster.psql("postgres", "select now() + '30 s'");
    primary.ok(&["pin", &ids[0], "--until", &soon]);
    primary.ok(&["expire", "--keep", "1"]);
    assert_eq!(self::ids(&primary), ids);
    assert!(wait_until(PATIENCE, || {
        primary.ok(&["expire", "--keep", "1"]);
        self::ids(&primary) == [ids[1].clone()]
    }));
}

/// A pin that cannot be read keeps everything; taking it away is the way out.
#[test]
fn a_damaged_pin_can_be_taken_away() {
    let (primary, ids) = primary(1);
    let pin = primary.repository().join(format!("main/backup/{}.pin.1", ids[0]));
    write_owned(&pin, b"nonsense");
    assert!(primary.ok(&["listbackups"]).contains("[pinned: a pin that cannot be read]"));
    primary.fails(6, &["expire", "--keep", "1"]);
    primary.ok(&["unpin", &ids[0]]);
    assert!(!pin.exists());
    primary.ok(&["listbackups"]);
}
