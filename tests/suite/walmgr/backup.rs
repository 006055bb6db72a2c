//! Base backups: what is restored, what breaks off, what is damaged.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};

use pgq_tests::site::{Site, archiving, said, snapshot, write_owned};

/// A primary that archives, with a table of some size.
pub(crate) fn primary() -> Site {
    primary_in(Site::new)
}

pub(crate) fn primary_in(site: fn(Cluster) -> Site) -> Site {
    let site = site(archiving().start());
    site.ok(&["setup"]);
    site.cluster.psql(
        "postgres",
        "create table t (n int primary key);
         create table filler as select g, md5(g::text) from generate_series(1, 20000) g;",
    );
    site
}

/// A place to restore a primary's backups into.
pub(crate) fn target(primary: &Site) -> Site {
    Site::beside(Cluster::empty(Tree::Ours), primary.repository())
}

pub(crate) fn started(site: &mut Site) {
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

pub(crate) fn verify_backup(site: &Site) {
    let mut command = site.cluster.run_as(site.cluster.tree().bin().join("pg_verifybackup"));
    let output = command.arg("--no-parse-wal").arg(site.cluster.data_dir()).output().unwrap();
    assert!(output.status.success(), "{}", said(&["pg_verifybackup"], &output));
}

/// Every file of the only backup's packs.
fn packs(site: &Site) -> Vec<PathBuf> {
    snapshot(&site.repository().join("main/pack"))
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.is_file())
        .collect()
}

#[test]
fn a_backup_and_the_archive_bring_everything_back() {
    let mut primary = primary();
    let space = primary.cluster.dir().join("space");
    fs::create_dir(&space).unwrap();
    let data = fs::metadata(primary.cluster.data_dir()).unwrap();
    use std::os::unix::fs::{MetadataExt, chown};
    chown(&space, Some(data.uid()), Some(data.gid())).unwrap();
    let space_sql = format!("create tablespace elsewhere location '{}'", space.display());
    primary.cluster.psql("postgres", &space_sql);
    primary.cluster.psql(
        "postgres",
        "create table far tablespace elsewhere as select g from generate_series(1, 5000) g;
         create unlogged table fleeting as select 1 as one;
         insert into t values (1);",
    );
    // Writers are busy meanwhile, so that the backup is torn without its WAL.
    let mut pgbench = primary.cluster.command("pgbench");
    pgbench.args(["-i", "-q", "-s", "2", "postgres"]);
    assert!(pgbench.output().unwrap().status.success());
    let mut busy = primary.cluster.command("pgbench");
    let mut busy = busy
        .args(["-n", "-c", "2", "-t", "100000", "postgres"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    primary.ok(&["backup", "--label", "first one", "--jobs", "3"]);
    let list = primary.ok(&["listbackups"]);
    assert!(list.contains("first one"), "{list}");
    busy.kill().unwrap();
    busy.wait().unwrap();
    // What it was at may still be committed.
    let left = "select count(*) from pg_stat_activity where application_name = 'pgbench'";
    assert!(wait_until(PATIENCE, || primary.cluster.psql("postgres", left) == "0"));
    primary.cluster.psql("postgres", "insert into t values (2)");
    primary.archive_all();
    let sum = "select sum(abalance) from pgbench_accounts";
    let expected = primary.cluster.psql("postgres", sum);
    let oid = primary
        .cluster
        .psql("postgres", "select oid from pg_tablespace where spcname = 'elsewhere'");
    primary.cluster.stop(Stop::Kill);

    let mut copy = target(&primary);
    let moved = copy.cluster.dir().join("moved");
    let map = format!("{oid}={}", moved.display());
    let before = snapshot(copy.cluster.dir());
    copy.ok(&["restore", "--tablespace-map", &map, "--dry-run"]);
    assert_eq!(before, snapshot(copy.cluster.dir()), "a dry run changed something");
    copy.ok(&["restore", "--tablespace-map", &map]);
    verify_backup(&copy);
    started(&mut copy);
    assert_eq!(copy.cluster.psql("postgres", "select count(*) from t"), "2");
    assert_eq!(copy.cluster.psql("postgres", sum), expected);
    assert_eq!(copy.cluster.psql("postgres", "select count(*) from far"), "5000");
    assert_eq!(copy.cluster.psql("postgres", "select count(*) from fleeting"), "0");
    let place = copy.cluster.psql(
        "postgres",
        "select pg_tablespace_location(oid) from pg_tablespace where spcname = 'elsewhere'",
    );
    assert_eq!(Path::new(&place), moved);
    copy.cluster.psql("postgres", "create extension amcheck");
    copy.cluster.psql("postgres", "select bt_index_check('t_pkey', true)");
    copy.ok(&["verify"]);
    // What another cluster has in the tablespace's directory is not ours to remove.
    copy.cluster.stop(Stop::Fast);
    let foreign = moved.join("PG_99_1");
    fs::create_dir(&foreign).unwrap();
    write_owned(&foreign.join("precious"), b"x");
    for option in ["--delta", "--force"] {
        copy.ok(&["restore", "--tablespace-map", &map, option, "--no-archive"]);
        assert!(foreign.join("precious").exists(), "{option}");
    }
    started(&mut copy);
    assert_eq!(copy.cluster.psql("postgres", "select count(*) from far"), "5000");
    // A server that does not archive has no use for a backup.
    copy.fails(2, &["backup"]);
}

#[test]
fn recovery_ends_where_it_is_told_to() {
    let mut primary = primary();
    primary.ok(&["backup"]);
    let mut client = primary.cluster.connect("postgres");
    let mut insert = |n: i32| {
        let row = client
            .query_one("insert into t values ($1) returning pg_current_xact_id()::text", &[&n])
            .unwrap();
        let xid: String = row.get(0);
        let row = client
            .query_one("select pg_current_wal_insert_lsn()::text, clock_timestamp()::text", &[])
            .unwrap();
        (xid, row.get::<_, String>(0), row.get::<_, String>(1))
    };
    insert(1);
    let (xid, _, _) = insert(2);
    let (_, lsn, _) = insert(3);
    let (_, _, time) = insert(4);
    insert(5);
    drop(client);
    primary.cluster.psql("postgres", "select pg_create_restore_point('before six')");
    primary.cluster.psql("postgres", "insert into t values (6)");
    primary.archive_all();
    primary.cluster.stop(Stop::Fast);

    let mut copy = target(&primary);
    let ends: [(&[&str], &str); 6] = [
        (&["--immediate"], "0"),
        (&["--to-xid", &xid], "2"),
        (&["--to-lsn", &lsn], "3"),
        (&["--to-time", &time], "4"),
        (&["--to-name", "before six"], "5"),
        (&["--to-xid", &xid, "--exclusive"], "1"),
    ];
    for (number, (options, expected)) in ends.into_iter().enumerate() {
        let mut args = vec!["restore", "--no-archive", "--timeline", "current"];
        args.extend(options);
        if number > 0 {
            args.push("--delta");
        }
        copy.ok(&args);
        verify_backup(&copy);
        started(&mut copy);
        assert_eq!(
            copy.cluster.psql("postgres", "select count(*) from t"),
            expected,
            "{options:?}"
        );
        copy.cluster.stop(Stop::Fast);
    }
    copy.fails(1, &["restore", "--delta", "--to-time", "2001-01-01 00:00:00Z"]);
    copy.fails(2, &["restore", "--delta", "--to-time", "soon"]);
    copy.fails(2, &["restore", "--delta", "--immediate", "--to-lsn", "0/1"]);
}

#[test]
fn a_backup_that_dies_anywhere_is_no_backup_and_can_be_taken_up() {
    let primary = primary();
    let count = |site: &Site| {
        let list: serde_json::Value =
            serde_json::from_str(&site.ok(&["listbackups", "--json"])).unwrap();
        list.as_array().unwrap().len()
    };
    // One thread, so that nothing is stored before its pack is complete. Some die, some fail and
    // say so.
    for failpoint in [
        "backup.chunk=kill@20",
        "backup.chunk=enospc@20",
        "store.synced=eio",
        "store.renamed=kill",
        "backup.copied=kill",
        "backup.copied=eio",
        "backup.stopped=kill",
        "backup.manifest=kill", // the manifest is there, what makes it count is not
    ] {
        let output = primary.at_failpoint(failpoint, &["backup", "--jobs", "1"]);
        let died = output.status.signal() == Some(9);
        let failed = matches!(output.status.code(), Some(4 | 8));
        let expected = if failpoint.contains("kill") { died } else { failed };
        assert!(expected, "{failpoint}: {}", said(&["backup"], &output));
        assert_eq!(count(&primary), 0, "{failpoint}");
        primary.ok(&["verify"]);
    }
    // What the broken-off ones have stored is used.
    primary.ok(&["backup"]);
    let list: serde_json::Value =
        serde_json::from_str(&primary.ok(&["listbackups", "--json"])).unwrap();
    let (size, added) = (list[0]["size"].as_u64().unwrap(), list[0]["added"].as_u64().unwrap());
    assert!(added * 20 < size, "{added} of {size} bytes were stored again");
    primary.ok(&["verify"]);
    let mut copy = target(&primary);
    copy.ok(&["restore"]);
    verify_backup(&copy);
    started(&mut copy);
}

#[test]
fn an_incremental_backup_stores_what_changed_and_restores_alone() {
    let mut primary = primary();
    primary.ok(&["backup"]);
    primary.cluster.psql("postgres", "insert into t values (1)");
    primary.ok(&["backup", "--incremental"]);
    primary.ok(&["verify"]);
    let list: serde_json::Value =
        serde_json::from_str(&primary.ok(&["listbackups", "--json"])).unwrap();
    let added = |number: usize| list[number]["added"].as_u64().unwrap();
    assert!(added(1) * 4 < added(0), "{list}");
    assert_eq!(list[1]["shares_with"][0], list[0]["id"]);
    primary.fails(1, &["backup", "--incremental", "20010101T000000Z"]);
    primary.cluster.stop(Stop::Fast);
    let mut copy = target(&primary);
    copy.ok(&["restore"]);
    verify_backup(&copy);
    started(&mut copy);
    assert_eq!(copy.cluster.psql("postgres", "select count(*) from t"), "1");
}

#[test]
fn damage_in_the_repository_is_found_and_never_restored() {
    let primary = primary();
    primary.ok(&["backup"]);
    let pack =
        packs(&primary).into_iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let manifest = snapshot(&primary.repository().join("main/backup"))
        .into_iter()
        .map(|(path, _)| path)
        .find(|path| path.extension().is_some_and(|extension| extension == "manifest"))
        .unwrap();
    let segment = {
        let list: serde_json::Value =
            serde_json::from_str(&primary.ok(&["listbackups", "--json"])).unwrap();
        primary.object(list[0]["start_wal"].as_str().unwrap())
    };
    let copy = target(&primary);
    for (path, restores) in [(pack, false), (manifest, false), (segment, true)] {
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let halves: [Option<&[u8]>; 3] = [Some(&flipped), Some(&whole[..whole.len() / 2]), None];
        for damaged in halves {
            match damaged {
                Some(bytes) => write_owned(&path, bytes),
                None => fs::remove_file(&path).unwrap(),
            }
            primary.fails(6, &["verify"]);
            if !restores {
                let _ = fs::remove_dir_all(copy.cluster.data_dir());
                copy.fails(6, &["restore"]);
                assert!(!copy.cluster.data_dir().join("global/pg_control").exists());
            }
        }
        write_owned(&path, &whole);
        primary.ok(&["verify"]);
    }
}

/// What cannot be read is not damaged, for all that is known.
#[test]
fn what_verify_cannot_read_is_no_damage() {
    let primary = primary();
    primary.ok(&["backup"]);
    primary.archive_all();
    let close = |path: &Path, is_closed: bool| {
        let mode = if is_closed { 0 } else { 0o640 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let pack = packs(&primary).remove(0);
    let segments = primary.segments("00000001");
    let segment = primary.object(segments.last().unwrap());
    for path in [&pack, &segment] {
        close(path, true);
        let said = primary.fails(4, &["verify"]);
        assert!(said.contains("1 object could not be read"), "{said}");
        close(path, false);
    }
    // With damage beside it, that is what comes out; both are said.
    let damaged = primary.object(&segments[0]);
    let whole = fs::read(&damaged).unwrap();
    write_owned(&damaged, &whole[..whole.len() / 2]);
    close(&segment, true);
    let said = primary.fails(6, &["verify"]);
    assert!(said.contains("found, 1 object could not be read"), "{said}");
    close(&segment, false);
    write_owned(&damaged, &whole);
    primary.ok(&["verify"]);
}

#[test]
fn damaged_pages_of_the_cluster_are_named() {
    let mut primary = primary();
    let file = primary.cluster.psql("postgres", "select pg_relation_filepath('filler')");
    primary.ok(&["backup"]);
    primary.cluster.stop(Stop::Fast);
    let path = primary.cluster.data_dir().join(&file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[3 * 8192 + 4000] ^= 1;
    write_owned(&path, &bytes);
    primary.cluster.start();
    let text = primary.fails(6, &["backup"]);
    assert!(text.contains(&format!("{file}:3")), "{text}");
    let list = primary.ok(&["listbackups"]);
    assert!(list.contains("[1 damaged page]"), "{list}");
    // The older, sound backup is the one to restore.
    let plan = target(&primary).ok(&["restore", "--dry-run"]);
    let first = list.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(plan.contains(first), "{plan}");
}

#[test]
fn a_restore_touches_nothing_that_it_should_not() {
    let mut primary = primary();
    primary.ok(&["backup"]);
    for option in ["--force", "--delta"] {
        primary.fails(3, &["restore", option]);
    }
    assert!(primary.cluster.is_running());

    let copy = target(&primary);
    let data = copy.cluster.data_dir();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("precious"), "x").unwrap();
    let before = snapshot(&data);
    copy.fails(2, &["restore"]);
    copy.fails(2, &["restore", "--force"]);
    copy.fails(2, &["restore", "--delta"]);
    assert_eq!(before, snapshot(&data));

    let other = Site::beside(Cluster::builder().create(), primary.repository());
    let before = snapshot(&other.cluster.data_dir());
    other.fails(2, &["restore"]);
    other.fails(5, &["restore", "--force"]);
    other.fails(5, &["restore", "--delta"]);
    other.fails(1, &["restore", "20010101T000000Z", "--force"]);
    assert_eq!(before, snapshot(&other.cluster.data_dir()));
    // And nobody backs up one cluster as another.
    let mut other = other;
    other.cluster.start();
    other.fails(5, &["backup"]);
}

#[test]
fn a_restore_that_dies_anywhere_cannot_be_started_and_can_be_repeated() {
    let mut primary = primary();
    primary.ok(&["backup"]);
    primary.cluster.psql("postgres", "insert into t values (1)");
    primary.archive_all();
    primary.cluster.stop(Stop::Fast);
    let mut copy = target(&primary);
    copy.ok(&["restore"]);
    for (number, step) in
        ["prepared=kill", "chunk=kill@30", "files=kill", "synced=kill", "files=eio"]
            .into_iter()
            .enumerate()
    {
        let option = if number % 2 == 0 { "--delta" } else { "--force" };
        let output = copy.at_failpoint(&format!("restore.{step}"), &["restore", option]);
        if !step.starts_with("chunk") || option == "--force" {
            assert!(!output.status.success(), "{step}: {}", said(&["restore"], &output));
            let mut server = copy.cluster.run_as(copy.cluster.tree().bin().join("postgres"));
            let start = server.arg("-D").arg(copy.cluster.data_dir()).output().unwrap();
            assert!(!start.status.success(), "{step}: a torso was started");
        }
    }
    copy.ok(&["restore", "--delta"]);
    assert!(!copy.cluster.data_dir().join("walmgr.restoring").exists());
    verify_backup(&copy);
    started(&mut copy);
    assert_eq!(copy.cluster.psql("postgres", "select count(*) from t"), "1");
}

#[test]
fn one_backup_at_a_time() {
    let primary = primary();
    let lock = primary.repository().join("main/locks/backup");
    primary.ok(&["backup"]);
    let mut holder = primary.cluster.run_as("flock");
    let mut holder = holder.arg("--no-fork").arg(&lock).args(["sleep", "600"]).spawn().unwrap();
    let held = wait_until(PATIENCE, || {
        std::process::Command::new("flock")
            .arg("-n")
            .arg(&lock)
            .arg("true")
            .status()
            .is_ok_and(|s| !s.success())
    });
    assert!(held);
    primary.fails(3, &["backup"]);
    holder.kill().unwrap();
    holder.wait().unwrap();
}
