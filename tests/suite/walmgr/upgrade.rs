//! `stanza-upgrade`: after a real pg_upgrade, new and old are told apart, and both can be restored.

use pgq_tests::site::{Site, archiving, said, snapshot, write_owned};
use pgq_tests::{Cluster, PATIENCE, Stop, wait_until};

use crate::walmgr::backup::{started, target};

/// A cluster that pg_upgrade has made of another, which is stopped.
pub(crate) fn upgraded(old: &Cluster) -> Cluster {
    let mut new = archiving().create();
    let bin = new.tree().bin();
    let mut upgrade = new.run_as(bin.join("pg_upgrade"));
    upgrade.current_dir(new.dir());
    upgrade.arg("-b").arg(&bin).arg("-B").arg(&bin);
    upgrade.arg("-d").arg(old.data_dir()).arg("-D").arg(new.data_dir());
    upgrade.arg("-p").arg(old.port().to_string()).arg("-P").arg(new.port().to_string());
    upgrade.args(["--username=postgres", "--socketdir"]).arg(new.dir());
    let output = upgrade.output().expect("run pg_upgrade");
    assert!(output.status.success(), "{}", said(&["pg_upgrade"], &output));
    new.start();
    new
}

pub(super) fn system(site: &Site) -> String {
    site.cluster.psql("postgres", "select system_identifier from pg_control_system()")
}

fn ids(site: &Site) -> Vec<String> {
    let list: serde_json::Value =
        serde_json::from_str(&site.ok(&["listbackups", "--json"])).unwrap();
    let ids = list.as_array().unwrap().iter();
    ids.map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
}

fn rows(site: &Site) -> String {
    site.cluster.psql("postgres", "select string_agg(n::text, ' ' order by n) from t")
}

#[test]
fn an_upgraded_cluster_goes_on_in_the_same_stanza() {
    let mut old = Site::new(archiving().start());
    old.ok(&["setup"]);
    let before = system(&old);
    old.cluster.psql("postgres", "create table t as select 1 as n");
    old.ok(&["backup"]);
    old.cluster.psql("postgres", "insert into t values (2)");
    old.archive_all();
    old.ok(&["backup"]);
    old.ok(&["stanza-upgrade"]);
    assert_eq!(ids(&old).len(), 2, "nothing to upgrade to");
    old.cluster.stop(Stop::Fast);

    let new = Site::beside(upgraded(&old.cluster), old.repository());
    let now = system(&new);
    assert_ne!(before, now);
    // Nothing of it gets in before somebody says what it is.
    let unchanged = snapshot(old.repository());
    for verb in [&["setup"][..], &["backup"], &["check"]] {
        let said = new.fails(5, verb);
        assert!(said.contains("stanza-upgrade"), "{said}");
    }
    assert!(new.ok(&["stanza-upgrade", "--dry-run"]).contains(&now));
    assert_eq!(unchanged, snapshot(old.repository()));
    new.ok(&["stanza-upgrade"]);
    new.ok(&["stanza-upgrade"]);
    new.ok(&["setup"]);
    new.cluster.psql("postgres", "insert into t values (3)");
    new.ok(&["backup"]);
    new.cluster.psql("postgres", "insert into t values (4)");
    wait_for_last(&new);
    let checked = new.ok(&["check"]);
    assert!(checked.contains(&before) && checked.contains(&now), "{checked}");
    let shown = new.ok(&["info"]);
    assert!(shown.contains(&before) && shown.contains(&now), "{shown}");
    let info: serde_json::Value = serde_json::from_str(&new.ok(&["info", "--json"])).unwrap();
    assert_eq!(info["system_identifier"], now.as_str());
    assert_eq!(info["earlier"][0]["system_identifier"], before.as_str());
    let all = ids(&new);
    assert_eq!(all.len(), 3);
    new.ok(&["verify"]);

    // The old one archives no more, and takes the stanza back no more.
    old.cluster.start();
    let segment = old.cluster.psql("postgres", "select pg_walfile_name(pg_switch_wal())");
    let path = format!("pg_wal/{segment}");
    let said = old.fails(5, &["archive-push", &path]);
    assert!(said.contains("before an upgrade"), "{said}");
    old.fails(5, &["stanza-upgrade"]);
    old.fails(5, &["backup"]);
    let failed =
        || old.cluster.psql("postgres", "select failed_count > 0 from pg_stat_archiver") == "t";
    assert!(wait_until(PATIENCE, failed), "{}", old.cluster.log());
    old.cluster.stop(Stop::Immediate);

    // Both restore with all their WAL; by default the present one.
    let mut copy = target(&new);
    copy.ok(&["restore", "--no-archive"]);
    started(&mut copy);
    assert_eq!((rows(&copy), system(&copy)), ("1 2 3 4".to_owned(), now.clone()));
    for args in [
        &["restore", "--no-archive", all[0].as_str()][..],
        &["restore", "--no-archive", "--system", &before],
    ] {
        let mut copy = target(&new);
        copy.ok(args);
        started(&mut copy);
        assert_eq!((rows(&copy), system(&copy)), ("1 2".to_owned(), before.clone()));
    }
    copy.fails(5, &["restore", "--system", "77"]);

    // Rules count for each by itself, and the last of the old one is the operator's to remove.
    new.ok(&["pin", &all[0]]);
    new.ok(&["expire", "--keep", "1"]);
    assert_eq!(ids(&new), all);
    new.ok(&["unpin", &all[0]]);
    new.ok(&["expire", "--keep", "1"]);
    assert_eq!(ids(&new), all[1..]);
    new.fails(2, &["cleanup", "--yes", "--system", &now]);
    // What a dead push left of the old one goes, what a live one writes of the new one stays.
    let top = old.repository().join("main");
    let at = |system: &str| top.join(system).join("wal/00000001/.x.1.1.tmp");
    for place in [at(""), at("2")] {
        write_owned(&place, b"x");
    }
    new.ok(&["cleanup", "--yes", "--system", &before]);
    assert!(!at("").exists() && at("2").exists(), "whose temporary files were removed?");
    assert_eq!(ids(&new), all[2..]);
    new.ok(&["verify"]);
    old.cluster.start();
    assert!(old.fails(5, &["archive-push", &path]).contains("before an upgrade"));
}

/// Everything up to now is archived.
fn wait_for_last(site: &Site) {
    let sql = "select pg_walfile_name(pg_switch_wal()) from pg_create_restore_point('x')";
    let segment = site.cluster.psql("postgres", sql);
    let object = site.repository().join("main/2/wal").join(&segment[..8]).join(&segment[8..16]);
    let stored = wait_until(PATIENCE, || object.join(&segment).exists());
    assert!(stored, "{}", site.cluster.log());
}
