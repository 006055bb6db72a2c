//! Objects that are removed many at once, and objects that are locked.

use std::path::Path;
use std::time::Duration;

use pgq_tests::object_server::{Dialect, Fault, ObjectServer};
use pgq_tests::site::{Site, archiving};

const DAY: Duration = Duration::from_secs(86_400);

fn site(server: &ObjectServer) -> Site {
    let cluster = archiving().start();
    let place = server.place(&cluster.dir().join("secret"));
    Site::at(cluster, Path::new("/no/directory"), place)
}

/// Two backups, and WAL that only the first needs.
fn two_backups(site: &Site) {
    site.ok(&["backup"]);
    for _ in 0..5 {
        site.cluster.psql("postgres", "select pg_logical_emit_message(true, 'a', 'b')");
        site.cluster.psql("postgres", "select pg_switch_wal()");
    }
    site.ok(&["backup"]);
}

fn count(server: &ObjectServer, what: &str) -> usize {
    let of_stanza = |name: &&String| !name.contains("walmgr.keys/") && name.contains(what);
    server.names().iter().filter(of_stanza).count()
}

#[test]
fn what_expires_is_removed_many_at_once_where_the_store_knows_how() {
    let server = ObjectServer::start(Dialect::S3);
    let site = site(&server);
    site.ok(&["setup"]);
    for fault in [Fault::None, Fault::NoBatches] {
        two_backups(&site);
        let wal = count(&server, "/wal/0");
        server.misbehave(fault);
        let batches = server.batches();
        site.ok(&["expire", "--keep", "1"]);
        server.misbehave(Fault::None);
        assert_eq!(server.batches() > batches, fault == Fault::None, "{fault:?}");
        assert!(count(&server, "/wal/0") < wal, "{fault:?}");
        assert_eq!(count(&server, ".json"), 2, "{:?}", server.names());
        site.ok(&["verify"]);
    }
    // One that is lost leaves what the next run removes.
    two_backups(&site);
    let wal = count(&server, "/wal/0");
    server.misbehave(Fault::LostAnswers);
    site.ok(&["expire", "--keep", "1"]);
    server.misbehave(Fault::None);
    assert!(count(&server, "/wal/0") < wal);
    site.ok(&["verify"]);
}

#[test]
fn expire_waits_for_what_is_locked() {
    let server = ObjectServer::start(Dialect::S3);
    let site = site(&server);
    let lock = "repository.s3.object_lock = { mode = 'governance', days = 3 }";
    site.configure(lock);
    site.ok(&["setup"]);
    two_backups(&site);
    let locked = server.locked();
    let is_locked = |name: &str| locked.iter().any(|other| other == name);
    for name in server.names() {
        let content = ["/wal/", "/pack/", ".json", ".manifest"].iter().any(|of| name.contains(of));
        assert_eq!(is_locked(&name), content, "{name}");
    }
    let before = server.names();
    let output = site.command(&["expire", "--keep", "1"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("locked until"), "{text}");
    assert!(site.ok(&["expire", "--keep", "1", "--dry-run"]).contains("no restorable time"));
    for name in before {
        assert!(server.names().contains(&name), "{name} was removed, or hidden");
    }
    // Marks are the operator's, and go when they say so.
    let list = site.ok(&["listbackups", "--json"]);
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    let id = list[0]["id"].as_str().unwrap();
    site.ok(&["pin", id]);
    site.ok(&["unpin", id]);

    // The first backup's time is over; WAL of today is locked for longer, and listed by name.
    server.advance(4 * DAY);
    site.configure("repository.s3.object_lock = { mode = 'governance', days = 30 }");
    site.cluster.psql("postgres", "select pg_switch_wal()");
    site.ok(&["backup"]);
    site.ok(&["backup"]);
    server.advance(Duration::from_secs(1));
    let output = site.command(&["expire", "--keep", "1"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("2 backups") && text.contains("locked until"), "{text}");
    assert_eq!(server.hidden(), 0, "nothing only lost its name");
    site.ok(&["verify"]);
    server.advance(31 * DAY);
    site.ok(&["expire", "--keep", "1"]);
    assert_eq!(count(&server, ".json"), 2, "{:?}", server.names());
    site.ok(&["verify"]);
}

#[test]
fn a_lock_of_no_time_is_refused() {
    let server = ObjectServer::start(Dialect::S3);
    let site = site(&server);
    site.configure("repository.s3.object_lock = { mode = 'compliance', days = 0 }");
    assert!(site.fails(2, &["setup"]).contains("object_lock.days"));
    assert_eq!(server.requests(), 0);
}
