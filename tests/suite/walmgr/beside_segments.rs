//! Backup history files and `.partial` files: written once, verified, expired, and never taken for
//! a segment.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use pgq_tests::{Cluster, PATIENCE, Tree, wait_until};

use pgq_tests::site::{Site, alone, archiving, said, snapshot, write_owned};

/// Finished objects of the archive whose paths have a part, with their bytes.
fn objects(site: &Site, part: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let all = snapshot(&site.repository().join("main/wal"));
    let hidden = |path: &PathBuf| path.to_string_lossy().contains("/.0");
    all.into_iter()
        .filter(|(path, _)| path.to_string_lossy().contains(part) && !hidden(path))
        .collect()
}

#[test]
fn a_backup_history_file_is_written_once_verified_and_healed() {
    let site = Site::new(archiving().start());
    site.ok(&["setup", "--repository-only"]);
    let name = "000000010000000000000003.00000028.backup";
    let path = site.cluster.dir().join(name);
    let text = b"START WAL LOCATION: 0/300028 (file 000000010000000000000003)\nLABEL: x\n";
    write_owned(&path, text);
    let push = ["archive-push", path.to_str().unwrap()];
    let get = alone(&["archive-get", name, "../fetched"]);
    let fetched = site.cluster.dir().join("fetched");
    site.fails(1, &get);
    for step in ["opened", "written", "synced", "renamed", "durable"] {
        let output = site.at_failpoint(&format!("store.{step}=kill"), &push);
        assert_eq!(output.status.signal(), Some(9), "{step}: {}", said(&push, &output));
        let there = matches!(step, "renamed" | "durable");
        site.fails(if there { 0 } else { 1 }, &get);
        site.ok(&push);
        site.ok(&push);
        site.ok(&get);
        assert_eq!(fs::read(&fetched).unwrap(), text, "{step}");
        fs::remove_file(&objects(&site, ".backup")[0].0).unwrap();
    }
    site.ok(&push);

    let other = site.cluster.dir().join("other");
    fs::create_dir(&other).unwrap();
    let other = other.join(name);
    fs::write(&other, [text, &b"and more\n"[..]].concat()).unwrap();
    site.fails(5, &["archive-push", other.to_str().unwrap()]);
    fs::write(&other, "something else").unwrap();
    site.fails(6, &["archive-push", other.to_str().unwrap()]);
    site.ok(&get);
    assert_eq!(fs::read(&fetched).unwrap(), text);

    site.ok(&["verify"]);
    let (object, mut damaged) = objects(&site, ".backup").remove(0);
    *damaged.last_mut().unwrap() ^= 1;
    write_owned(&object, &damaged);
    site.fails(6, &["verify"]);
    site.fails(200, &get);
    site.ok(&push);
    site.ok(&get);
    assert_eq!(fs::read(&fetched).unwrap(), text);
    site.ok(&["verify"]);
}

#[test]
fn unfinished_segments_of_two_servers_are_kept_and_verified() {
    let site = Site::new(archiving().set("archive_command", "false").start());
    site.ok(&["setup", "--repository-only"]);
    let segment = "select pg_walfile_name(pg_current_wal_lsn())";
    site.cluster.psql("postgres", "create table t (n int)");
    let segment = site.cluster.psql("postgres", segment);
    let bytes = fs::read(site.cluster.data_dir().join("pg_wal").join(&segment)).unwrap();
    let path = site.cluster.dir().join(format!("{segment}.partial"));
    let args = ["archive-push", path.to_str().unwrap()];
    let mut contents = [bytes.clone(), bytes.clone()];
    contents[1][600_000] ^= 1;
    // Two servers at once, and again: each content once, both for good.
    let mut running = Vec::new();
    for number in 0..6 {
        let directory = site.cluster.dir().join(number.to_string());
        fs::create_dir(&directory).unwrap();
        let path = directory.join(format!("{segment}.partial"));
        fs::write(&path, &contents[number % 2]).unwrap();
        let mut command = site.command(&["archive-push", path.to_str().unwrap()]);
        running.push(command.stderr(Stdio::null()).spawn().unwrap());
    }
    assert!(running.iter_mut().all(|child| child.wait().unwrap().success()));
    assert_eq!(objects(&site, ".partial.").len(), 2);
    // Neither stands for the segment.
    site.absent(&["archive-get", &segment, "../fetched"]);

    // Another system, another place, no WAL at all, another version's WAL.
    let other = if bytes[0] == 0x10 { 0x13 } else { 0x10 };
    for (at, byte, code) in
        [(24, bytes[24] ^ 1, 5), (10, bytes[10] ^ 0x10, 6), (0, 0, 6), (0, other, 5)]
    {
        let mut wrong = bytes.clone();
        wrong[at] = byte;
        write_owned(&path, &wrong);
        site.fails(code, &args);
    }
    write_owned(&path, &bytes[..bytes.len() - 1]);
    site.fails(6, &args);
    assert_eq!(objects(&site, ".partial.").len(), 2);

    site.ok(&["verify"]);
    let (object, whole) = objects(&site, ".partial.").remove(0);
    write_owned(&object, &whole[..whole.len() / 2]);
    site.fails(6, &["verify"]);
    for content in &contents {
        write_owned(&path, content);
        site.ok(&args);
    }
    site.ok(&["verify"]);
    // Encrypted, it is not the same bytes.
    assert_eq!(fs::read(&object).unwrap().len(), whole.len());
}

#[test]
fn after_a_timeline_switch_expire_keeps_what_is_needed_and_no_more() {
    let primary = Site::new(archiving().start());
    primary.ok(&["setup"]);
    primary.cluster.psql("postgres", "create table t (n int); insert into t values (1)");
    primary.ok(&["backup"]);
    primary.cluster.psql("postgres", "select pg_create_restore_point('here')");
    primary.cluster.psql("postgres", "insert into t values (2)");
    primary.archive_all();
    let before = objects(&primary, "");
    assert_eq!(objects(&primary, ".backup").len(), 1);

    // Another server of the same stanza branches off in the middle of a segment that the primary
    // has archived as a whole.
    let mut branch = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    branch.ok(&["restore", "--to-name", "here"]);
    branch.cluster.start_without_waiting();
    let history = branch.repository().join("main/wal/00000002.history");
    assert!(wait_until(PATIENCE, || history.exists()), "{}", branch.cluster.log());
    // What a promoted standby would archive of the old timeline.
    let segment = branch.segments("00000001").pop().unwrap();
    let partial = primary.cluster.dir().join(format!("{segment}.partial"));
    primary.ok(&["archive-get", &segment, partial.to_str().unwrap()]);
    primary.ok(&["archive-push", partial.to_str().unwrap()]);
    assert_eq!(objects(&branch, ".partial.").len(), 1);
    for (path, bytes) in before.iter().filter(|(path, _)| path.is_file()) {
        assert!(fs::read(path).unwrap() == *bytes, "{} was changed", path.display());
    }
    branch.ok(&["verify"]);
    branch.cluster.psql("postgres", "insert into t values (3)");
    branch.ok(&["backup"]);
    branch.archive_all();

    branch.ok(&["expire", "--keep", "2"]);
    assert_eq!(objects(&branch, ".partial.").len(), 1);
    assert_eq!(objects(&branch, ".backup").len(), 2);
    branch.ok(&["expire", "--keep", "1"]);
    assert_eq!(objects(&branch, ".partial.").len(), 0);
    assert_eq!(objects(&branch, ".backup").len(), 1);
    assert!(branch.segments("00000001").is_empty(), "no kept backup needs the old timeline");
    assert!(history.exists(), "a history file was removed");
    branch.ok(&["verify"]);
    // And what is left restores.
    let mut copy = Site::beside(Cluster::empty(Tree::Ours), primary.repository());
    copy.ok(&["restore", "--no-archive"]);
    copy.cluster.start_without_waiting();
    let cluster = &copy.cluster;
    let restored = wait_until(PATIENCE, || {
        cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
            let open =
                "select array_agg(n order by n) = '{1,3}' and not pg_is_in_recovery() from t";
            client.query_one(open, &[]).is_ok_and(|row| row.get(0))
        })
    });
    assert!(restored, "{}", copy.cluster.log());
}
