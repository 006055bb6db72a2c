//! The repository in an object store: the same promises, with a store that fails in every way, for
//! each protocol.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};

use pgq_tests::object_server::{Dialect, Fault, ObjectServer};
use pgq_tests::site::{Site, alone, archiving, said, write_owned};

/// One test of each for each protocol.
macro_rules! for_each_store {
    ($($name:ident)*) => {
        for_each_store!(@ s3 S3 $($name)*);
        for_each_store!(@ gcs Gcs $($name)*);
        for_each_store!(@ azure Azure $($name)*);
    };
    (@ $module:ident $dialect:ident $($name:ident)*) => {
        mod $module {
            use pgq_tests::object_server::Dialect;
            $(#[test]
            fn $name() {
                super::$name(Dialect::$dialect);
            })*
        }
    };
}

for_each_store! {
    archive_backup_expire_and_recovery_work_in_an_object_store
    whatever_the_store_does_nothing_untrue_is_said
    large_objects_come_in_parts_and_exist_whole_or_not_at_all
    a_segment_in_parts_is_written_once
}

fn site(server: &ObjectServer, cluster: Cluster) -> Site {
    let place = server.place(&cluster.dir().join("secret"));
    Site::at(cluster, Path::new("/no/directory"), place)
}

/// Wait until the server's archiver has nothing to do.
fn archive_all(site: &Site) {
    site.cluster.psql("postgres", "select pg_switch_wal() from pg_create_restore_point('x')");
    let status = site.cluster.data_dir().join("pg_wal/archive_status");
    let done = wait_until(PATIENCE, || {
        fs::read_dir(&status)
            .unwrap()
            .flatten()
            .all(|entry| entry.path().extension().is_none_or(|extension| extension != "ready"))
    });
    assert!(done, "{}", site.cluster.log());
}

fn archive_backup_expire_and_recovery_work_in_an_object_store(dialect: Dialect) {
    let server = ObjectServer::start(dialect);
    let mut primary = site(&server, archiving().start());
    server.misbehave(Fault::Overwrites);
    primary.fails(2, &["setup"]);
    server.misbehave(Fault::None);
    for name in server.names() {
        server.remove(&name);
    }
    primary.ok(&["setup"]);
    primary.cluster.psql("postgres", "create table t (n int)");
    primary.ok(&["backup"]);
    primary.cluster.psql("postgres", "insert into t values (1)");
    // Half of all requests fail, and nobody notices.
    server.misbehave(Fault::Flaky);
    primary.ok(&["backup", "--incremental"]);
    primary.cluster.psql("postgres", "insert into t values (2)");
    archive_all(&primary);
    server.misbehave(Fault::LostAnswers);
    primary.ok(&["backup"]);
    primary.cluster.psql("postgres", "insert into t values (3)");
    archive_all(&primary);
    server.misbehave(Fault::None);
    primary.ok(&["verify"]);
    primary.ok(&["expire", "--keep", "1"]);
    primary.ok(&["verify"]);
    assert!(!server.names().iter().any(|name| name.contains("locks/")), "{:?}", server.names());
    primary.cluster.stop(Stop::Kill);

    let mut copy = site(&server, Cluster::empty(Tree::Ours));
    copy.ok(&["restore", "--no-archive"]);
    // The store dies in mid-recovery: the server stops instead of opening early.
    copy.cluster.write_settings(&[("archive_cleanup_command".into(), String::new())]);
    server.misbehave(Fault::Status(500));
    copy.cluster.start_without_waiting();
    let cluster = &mut copy.cluster;
    assert!(wait_until(PATIENCE, || !cluster.is_running()), "{}", cluster.log());
    assert!(!cluster.log().contains("selected new timeline"), "{}", cluster.log());
    cluster.stop_collected();
    server.misbehave(Fault::Flaky);
    cluster.start_without_waiting();
    let finished = wait_until(PATIENCE, || {
        cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
            client.query_one("select not pg_is_in_recovery()", &[]).is_ok_and(|row| row.get(0))
        })
    });
    assert!(finished, "{}", cluster.log());
    assert_eq!(cluster.psql("postgres", "select count(*) from t"), "3");
}

fn whatever_the_store_does_nothing_untrue_is_said(dialect: Dialect) {
    let server = ObjectServer::start(dialect);
    let mut site = site(&server, archiving().set("archive_command", "false").start());
    site.ok(&["setup", "--repository-only"]);
    let name = site.cluster.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())");
    site.cluster.psql("postgres", "create table t as select 1; select pg_switch_wal()");
    let path = site.cluster.dir().join("segment");
    write_owned(&path, &fs::read(site.cluster.data_dir().join("pg_wal").join(&name)).unwrap());
    site.cluster.stop(Stop::Fast);
    let push = ["archive-push", path.to_str().unwrap(), &name];
    let get = alone(&["archive-get", &name, "../fetched"]);
    let absent = alone(&["archive-get", "0000000100000000000000F0", "../fetched"]);
    let stored =
        |server: &ObjectServer| server.names().into_iter().find(|key| key.ends_with(&name));

    // Who is silent, or never ends, is not waited for as long as a busy host may need.
    let hasten = || {
        let hasty = fs::read_to_string(site.config()).unwrap().replace("'30s'", "'500ms'");
        fs::write(site.config(), hasty).unwrap();
    };
    hasten();
    for fault in [Fault::Status(500), Fault::Status(403), Fault::Status(404), Fault::Silence] {
        server.misbehave(fault);
        let output = site.command(&push).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{fault:?}: {}", said(&push, &output));
        site.fails(200, &absent);
        assert_eq!(stored(&server), None);
    }
    // The store has it, but the answer got lost: the next attempt finds its own work.
    site.configure("");
    server.misbehave(Fault::LostAnswers);
    site.ok(&push);
    server.misbehave(Fault::None);
    site.ok(&push);
    site.ok(&get);
    let fetched = site.cluster.dir().join("fetched");
    assert!(fs::read(&fetched).unwrap() == fs::read(&path).unwrap());
    fs::remove_file(&fetched).unwrap();
    site.fails(1, &absent);

    // Another host may have anything under these names.
    let other = ObjectServer::start(dialect);
    for name in server.names() {
        let bytes = server.remove(&name);
        server.put(&name, bytes.clone());
        other.put(&name, bytes);
    }
    hasten();
    for fault in [Fault::SendsElsewhere(other.port()), Fault::Endless] {
        server.misbehave(fault);
        let mut shell = site.cluster.run_as("bash");
        // So much memory and no more.
        shell.args(["-c", "ulimit -v 1048576 -c 0; exec \"$0\" \"$@\""]);
        shell.arg(site.cluster.dir().join("walmgr")).args(site.arguments(&get));
        let output = shell.current_dir(site.cluster.data_dir()).output().unwrap();
        assert_eq!(output.status.code(), Some(200), "{fault:?}: {}", said(&get, &output));
        assert!(!fetched.exists(), "{fault:?}");
    }
    assert_eq!(other.requests(), 0, "a signed request went elsewhere");
    for fault in [Fault::Trickle, Fault::Cut, Fault::WrongBytes, Fault::Status(503)] {
        server.misbehave(fault);
        site.fails(200, &get);
        assert!(!fetched.exists(), "{fault:?}");
    }
    server.misbehave(Fault::None);
    site.configure("");
    let mut bytes = fs::read(&path).unwrap();
    bytes[600_000] ^= 1;
    write_owned(&path, &bytes);
    site.fails(5, &push);
    bytes[600_000] ^= 1;
    write_owned(&path, &bytes);
    // A damaged object is set aside and stored anew.
    let key = stored(&server).unwrap();
    let mut object = server.remove(&key);
    let middle = object.len() / 2;
    object[middle] ^= 1;
    server.put(&key, object);
    site.fails(200, &get);
    site.ok(&push);
    site.ok(&get);
    assert!(server.names().contains(&format!("{key}.damaged0")));

    // Two contents at once: one wins everywhere.
    server.remove(&key);
    let other = site.cluster.dir().join("other");
    bytes[700_000] ^= 1;
    write_owned(&other, &bytes);
    let mut running = Vec::new();
    for number in 0..6 {
        let path = if number % 2 == 0 { &path } else { &other };
        let mut command = site.command(&["archive-push", path.to_str().unwrap(), &name]);
        running.push(command.stderr(Stdio::null()).spawn().unwrap());
    }
    let codes: Vec<_> =
        running.iter_mut().map(|child| child.wait().unwrap().code().unwrap()).collect();
    assert!(matches!(codes.as_slice(), [0, 5, 0, 5, 0, 5] | [5, 0, 5, 0, 5, 0]), "{codes:?}");
}

fn large_objects_come_in_parts_and_exist_whole_or_not_at_all(dialect: Dialect) {
    let server = ObjectServer::start(dialect);
    // Minimal WAL while there is no archive: filling tables costs next to none.
    let mut cluster = archiving().set("wal_level", "minimal").set("archive_mode", "off");
    cluster = cluster.set("max_wal_senders", 0);
    let mut site = site(&server, cluster.start());
    site.cluster.psql(
        "postgres",
        "create table filler as select g, md5(g::text) from generate_series(1, 300000) g",
    );
    let on = [("wal_level", "replica"), ("archive_mode", "on")];
    site.cluster.write_settings(&on.map(|(name, value)| (name.into(), value.into())));
    site.cluster.restart();
    let uncompressed = "repository.compression = 'none'";
    let whole = format!("{uncompressed}\nrepository.{}.multipart = false", dialect.section());
    for fault in [Fault::CompletesOver, Fault::NoParts] {
        server.misbehave(fault);
        site.configure(uncompressed);
        let said = site.fails(2, &["setup", "--repository-only"]);
        assert!(said.contains("multipart = false"), "{fault:?}: {said}");
        site.configure(&whole);
        site.ok(&["setup", "--repository-only"]);
    }
    server.misbehave(Fault::None);
    site.configure(uncompressed);
    site.ok(&["setup"]);
    assert!(!server.names().iter().any(|name| name.contains("probe")), "{:?}", server.names());
    // Blocks of its probe: Azure has no request that discards them.
    let of_setup = server.open_uploads();
    assert!(of_setup == 0 || dialect == Dialect::Azure, "{of_setup}");
    let backup = ["backup", "--jobs", "1"];
    let count = || {
        let list = site.ok(&["listbackups", "--json"]);
        serde_json::from_str::<Vec<serde_json::Value>>(&list).unwrap().len()
    };

    // Dies between two parts: nothing is there.
    let output = site.at_failpoint("store.part=kill@2", &backup);
    assert!(!output.status.success(), "{}", said(&backup, &output));
    assert!(!server.names().iter().any(|name| name.contains("/pack/")), "{:?}", server.names());
    // S3 begins an upload; of the others' parts none may have arrived yet.
    let left = server.open_uploads();
    let new = left - of_setup;
    assert!(new == 1 || dialect != Dialect::S3 && new == 0, "{left}, {of_setup} of setup's");
    // As if its lock had grown old.
    for name in server.names().into_iter().filter(|name| name.contains("/locks/")) {
        server.remove(&name);
    }
    // Fails between two parts, or at the end: what was sent is aborted.
    for (failpoint, fault) in [("store.part=eio@2", Fault::None), ("", Fault::ErrorInBody)] {
        server.misbehave(fault);
        let output = site.at_failpoint(failpoint, &backup);
        assert_eq!(output.status.code(), Some(4), "{fault:?}: {}", said(&backup, &output));
        server.misbehave(Fault::None);
        assert!(!server.names().iter().any(|name| name.contains("/pack/")), "{fault:?}");
        assert_eq!(count(), 0, "{fault:?}");
        // Azure discards blocks by itself.
        assert!(dialect == Dialect::Azure || server.open_uploads() == left, "{fault:?}");
    }
    assert!(server.most_parts() < 2, "only setup has tried");
    for fault in [Fault::None, Fault::Flaky, Fault::LostAnswers] {
        server.misbehave(fault);
        site.ok(&backup);
        server.misbehave(Fault::None);
        site.ok(&["verify"]);
    }
    assert_eq!(count(), 3);
    assert!(dialect == Dialect::Azure || server.open_uploads() == left);
    assert!(server.most_parts() >= 3, "{}", server.most_parts());
}

fn a_segment_in_parts_is_written_once(dialect: Dialect) {
    let server = ObjectServer::start(dialect);
    let cluster = archiving().initdb_arg("--wal-segsize=16").set("max_wal_size", "64MB");
    let cluster = cluster.set("min_wal_size", "32MB").set("archive_command", "false").start();
    let mut site = site(&server, cluster);
    site.configure("repository.compression = 'none'");
    site.ok(&["setup", "--repository-only"]);
    let name = site.cluster.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())");
    site.cluster.psql("postgres", "create table t as select 1; select pg_switch_wal()");
    let path = site.cluster.dir().join("segment");
    let mut bytes = fs::read(site.cluster.data_dir().join("pg_wal").join(&name)).unwrap();
    assert_eq!(bytes.len(), 16 << 20);
    write_owned(&path, &bytes);
    let other = site.cluster.dir().join("other");
    bytes[700_000] ^= 1;
    write_owned(&other, &bytes);
    site.cluster.stop(Stop::Fast);
    let mut running = Vec::new();
    for number in 0..4 {
        let path = if number % 2 == 0 { &path } else { &other };
        let mut command = site.command(&["archive-push", path.to_str().unwrap(), &name]);
        running.push(command.stderr(Stdio::null()).spawn().unwrap());
    }
    let codes: Vec<_> =
        running.iter_mut().map(|child| child.wait().unwrap().code().unwrap()).collect();
    assert!(matches!(codes.as_slice(), [0, 5, 0, 5] | [5, 0, 5, 0]), "{codes:?}");
    let winner = if codes[0] == 0 { &path } else { &other };
    let key = server.names().into_iter().find(|key| key.ends_with(&name)).unwrap();
    // The store has it, but the answer to the last request got lost.
    server.remove(&key);
    server.misbehave(Fault::LostAnswers);
    site.ok(&["archive-push", winner.to_str().unwrap(), &name]);
    server.misbehave(Fault::None);
    site.ok(&["archive-push", winner.to_str().unwrap(), &name]);
    site.ok(&["archive-get", &name, "../fetched"]);
    assert!(fs::read(site.cluster.dir().join("fetched")).unwrap() == fs::read(winner).unwrap());
    assert!(dialect == Dialect::Azure || server.open_uploads() == 0);
    assert!(server.most_parts() >= 2);
}
