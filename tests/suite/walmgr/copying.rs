//! What is copied from one repository to another, and what must not come of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use pgq_tests::object_server::{Dialect, Fault, ObjectServer};
use pgq_tests::site::{Site, archiving, said, snapshot, write_owned, write_program};
use pgq_tests::{PATIENCE, Stop, wait_until};

use super::daemon::Daemon;
use super::several::{away, configure, hanging, next_of, place, row, segments, site};
use super::upgrade::{system, upgraded};

#[test]
fn a_repository_that_is_not_mounted_is_made_by_nobody() {
    let site = site("", "required = false\npatience = '200ms'");
    let (b, elsewhere) = (place(&site, "b"), place(&site, "b.elsewhere"));
    fs::rename(&b, &elsewhere).unwrap();
    let is_empty = || fs::read_dir(&b).map_or(true, |mut names| names.next().is_none());
    for mount_point in [true, false] {
        if mount_point {
            fs::create_dir(&b).unwrap();
            own_as(&elsewhere, &b);
        }
        let said = site.cluster.dir().join("said");
        let mut daemon = Daemon::saying(&site, "", File::create(&said).unwrap());
        row(&site, 1);
        site.archive_all();
        let waits = || fs::read_to_string(&said).unwrap().contains("its backlog waits");
        assert!(wait_until(PATIENCE, waits), "the daemon did not look at b");
        assert!(daemon.is_running());
        drop(daemon);
        row(&site, 2);
        site.archive_all();
        for args in [&["repository", "copy"][..], &["repository", "copy", "--wal-only"]] {
            let said = site.fails(4, args);
            assert!(said.contains("not mounted") || said.contains("No such file"), "{said}");
        }
        assert!(is_empty(), "somebody wrote: {:?}", snapshot(&b));
        if mount_point {
            fs::remove_dir(&b).unwrap();
        }
    }
    assert!(!b.exists(), "somebody made the directory");

    // Mounted again, it is filled.
    fs::rename(&elsewhere, &b).unwrap();
    let _daemon = Daemon::start(&site, "");
    let same = || segments(&site, "a") == segments(&site, "b");
    assert!(wait_until(PATIENCE, same), "nothing was copied");
}

#[test]
fn a_copy_makes_the_stanza_where_there_is_none_and_a_backlog_does_not() {
    let site = site("", "required = false\npatience = '200ms'");
    row(&site, 1);
    site.ok(&["backup"]);
    let stanza = place(&site, "b").join("main");
    // At once: the archiver may be at it.
    fs::rename(&stanza, place(&site, "b.gone")).unwrap();
    let said = site.cluster.dir().join("said");
    let daemon = Daemon::saying(&site, "", File::create(&said).unwrap());
    let waits = || fs::read_to_string(&said).unwrap().contains("its backlog waits");
    assert!(wait_until(PATIENCE, waits), "the daemon did not look at b");
    drop(daemon);
    assert!(!stanza.exists(), "a daemon made the stanza");
    site.ok(&["repository", "copy"]);
    site.ok(&["--repo", "b", "verify"]);
    assert_eq!(segments(&site, "a"), segments(&site, "b"));
}

/// Give a directory to the owner of another.
fn own_as(model: &Path, path: &Path) {
    use std::os::unix::fs::{MetadataExt, chown};
    let owner = fs::metadata(model).unwrap();
    chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// A segment's object in a repository.
fn object(site: &Site, name: &str, segment: &str) -> PathBuf {
    let wal = place(site, name).join("main/wal");
    wal.join(&segment[..8]).join(&segment[8..16]).join(segment)
}

/// Ids of the backups in a repository.
fn backups(site: &Site, name: &str) -> Vec<String> {
    let list = site.ok(&["--repo", name, "listbackups", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let ids = list.as_array().unwrap().iter();
    ids.map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
}

/// A site whose repository b has nothing of what came after set-up: three segments, two backups.
fn behind() -> Site {
    let site = site("", "required = false\npatience = '200ms'");
    // It has had its patience, not more.
    site.ok(&["repository", "copy"]);
    away(&site, "b", true);
    row(&site, 1);
    site.ok(&["backup"]);
    row(&site, 2);
    site.ok(&["backup", "--incremental"]);
    site.archive_all();
    // Stored in a, the last may still be on its way to b.
    let last = segments(&site, "a").pop().unwrap();
    let archived = "select left(last_archived_wal, 24) from pg_stat_archiver";
    assert!(wait_until(PATIENCE, || site.cluster.psql("postgres", archived) >= last));
    away(&site, "b", false);
    site
}

/// A pack that a backup made.
fn pack_of(site: &Site, name: &str, id: &str) -> PathBuf {
    let directory = place(site, name).join("main/pack").join(id);
    fs::read_dir(directory).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_copy_killed_anywhere_makes_no_end_and_no_backup_that_is_not_whole() {
    let site = behind();
    write_owned(&site.cluster.data_dir().join("recovery.signal"), b"");
    let first = segments(&site, "a").into_iter().find(|one| !segments(&site, "b").contains(one));
    let first = first.unwrap();
    let get = || site.command(&["--repo", "b", "archive-get", &first, "got"]).output().unwrap();
    // Each time one file more.
    let step = |failpoint: &str| site.at_failpoint(failpoint, &["repository", "copy"]);
    let mut kills = 0;
    while !object(&site, "b", &first).exists() {
        // The last one is not followed by another.
        site.at_failpoint("copy.wal=kill@2", &["repository", "copy", "--wal-only"]);
        kills += 1;
        let output = get();
        let whole = object(&site, "b", &first).exists();
        assert_eq!(output.status.code(), Some(if whole { 0 } else { 200 }), "after {kills} kills");
    }
    assert!(kills > 2, "{kills} kills");
    kills = 0;
    while !step("copy.object=kill@2").status.success() {
        kills += 1;
        assert!(kills < 100);
        let whole = backups(&site, "b");
        if !whole.is_empty() {
            let args: Vec<&str> = ["--repo", "b", "verify"].into_iter().collect();
            site.ok(&[args, whole.iter().map(String::as_str).collect()].concat());
        }
    }
    assert!(kills > 4, "{kills} kills");
    assert_eq!(backups(&site, "a"), backups(&site, "b"));
}

#[test]
fn a_backup_that_lacks_something_is_not_copied_and_the_others_are() {
    for lacking in ["pack", "wal"] {
        let site = behind();
        let ids = backups(&site, "a");
        let text =
            fs::read_to_string(place(&site, "a").join(format!("main/backup/{}.json", ids[1])));
        let info: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
        let own = match lacking {
            "pack" => pack_of(&site, "a", &ids[1]),
            _ => object(&site, "a", info["start_wal"].as_str().unwrap()),
        };
        fs::remove_file(&own).unwrap();
        let said = site.fails(6, &["repository", "copy"]);
        assert!(said.contains(&format!("backup {} is not copied", ids[1])), "{said}");
        assert_eq!(backups(&site, "b"), ids[..1], "without its {lacking}");
    }
}

#[test]
fn no_backup_is_copied_onto_wal_that_is_damaged_over_there() {
    let site = behind();
    let ids = backups(&site, "a");
    let of = |id: &str| {
        let text = fs::read_to_string(place(&site, "a").join(format!("main/backup/{id}.json")));
        let info: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
        info["start_wal"].as_str().unwrap().to_owned()
    };
    site.ok(&["repository", "copy", "--wal-only"]);
    let (healed, lost) = (of(&ids[0]), of(&ids[1]));
    fs::write(object(&site, "b", &healed), b"").unwrap();
    for name in ["a", "b"] {
        fs::write(object(&site, name, &lost), b"").unwrap();
    }
    let said = site.fails(6, &["repository", "copy"]);
    assert!(said.contains("set aside over there"), "{said}");
    assert!(said.contains(&format!("backup {} is not copied", ids[1])), "{said}");
    assert_eq!(backups(&site, "b"), ids[..1]);
    site.ok(&["--repo", "b", "verify", &ids[0]]);
    let left = object(&site, "b", &lost);
    assert!(left.exists(), "set aside with nothing to take its place");
}

#[test]
fn a_damaged_segment_keeps_no_backlog_from_ending() {
    let site = behind();
    let lost = segments(&site, "a").into_iter().find(|one| !segments(&site, "b").contains(one));
    let lost = lost.unwrap();
    fs::write(object(&site, "a", &lost), b"nothing").unwrap();
    let said = site.cluster.dir().join("said");
    let _daemon = Daemon::saying(&site, "", File::create(&said).unwrap());
    row(&site, 3);
    site.archive_all();
    let others = || {
        let mut all = segments(&site, "a");
        all.retain(|one| *one != lost);
        segments(&site, "b") == all
    };
    let text = || fs::read_to_string(&said).unwrap();
    // Which of them comes last is not said.
    assert!(wait_until(PATIENCE, || others() && text().contains(&lost)), "{}", text());
    assert!(!text().contains("its backlog waits"), "{}", text());
}

#[test]
fn a_pack_of_another_backup_is_no_part_of_this_one() {
    let site = behind();
    let ids = backups(&site, "a");
    // Both repositories may have a backup of the same second.
    let mine = pack_of(&site, "a", &ids[0]);
    let taken = place(&site, "b").join(mine.strip_prefix(place(&site, "a")).unwrap());
    fs::create_dir_all(taken.parent().unwrap()).unwrap();
    fs::copy(pack_of(&site, "a", &ids[1]), &taken).unwrap();
    own_all_as(&place(&site, "b"));
    let said = site.fails(5, &["repository", "copy"]);
    assert!(said.contains("of another backup"), "{said}");
    assert!(!backups(&site, "b").contains(&ids[0]));
}

/// A backup is marked as one of which only the WAL of its own is left.
fn mark(site: &Site, id: &str) {
    write_owned(&place(site, "a").join(format!("main/backup/{id}.standalone")), b"x");
}

fn is_marked(site: &Site, name: &str, id: &str) -> bool {
    place(site, name).join(format!("main/backup/{id}.standalone")).exists()
}

/// The same, and so it is: what came after the first backup is gone.
fn leave_alone(site: &Site) -> Vec<String> {
    let ids = backups(site, "a");
    let list = site.ok(&["--repo", "a", "listbackups", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let next = next_of(list[0]["stop_wal"].as_str().unwrap());
    assert!(next.as_str() < list[1]["start_wal"].as_str().unwrap(), "{list}");
    fs::remove_file(object(site, "a", &next)).unwrap();
    mark(site, &ids[0]);
    ids
}

#[test]
fn pins_are_each_repositorys_own_and_marks_come_with_their_backup_only() {
    let site = behind();
    let ids = leave_alone(&site);
    site.ok(&["--repo", "a", "pin", &ids[0]]);
    site.ok(&["repository", "copy"]);
    assert!(is_marked(&site, "b", &ids[0]), "its WAL is not there over there, either");
    mark(&site, &ids[1]);
    site.ok(&["repository", "copy"]);
    assert!(!is_marked(&site, "b", &ids[1]), "over there the WAL after it may be kept");
    let names = snapshot(&place(&site, "b").join("main/backup"));
    assert!(names.iter().all(|(path, _)| !path.to_str().unwrap().contains(".pin.")), "a pin");
}

/// The site's repository b is one to which it may only add.
fn only_add(site: &Site) {
    let (top, program) = (site.cluster.dir(), site.cluster.dir().join("only-adds"));
    let script =
        format!("#!/bin/sh\nexec {0}/walmgr remote-store --append-only {0}/b\n", top.display());
    write_program(&program, script.as_bytes());
    site.configure(&format!(
        "[[repository]]\nname = 'a'\npath = '{0}/a'\n[[repository]]\nname = 'b'\n\
         ssh = {{ host = 'h', path = '{0}/b', command = '{1}' }}\n",
        top.display(),
        program.display()
    ));
}

#[test]
fn to_where_one_may_only_add_backups_are_copied_without_what_rules_go_by() {
    let site = behind();
    let ids = leave_alone(&site);
    only_add(&site);
    let output = site.command(&["repository", "copy"]).output().unwrap();
    let text = said(&["repository", "copy"], &output);
    assert!(output.status.success() && text.contains("to its own end only"), "{text}");
    assert_eq!(backups(&site, "b"), ids);
    assert!(!is_marked(&site, "b", &ids[0]));
    // Who may do all says what is still to say.
    configure(&site, "", "");
    site.ok(&["repository", "copy"]);
    assert!(is_marked(&site, "b", &ids[0]) && !is_marked(&site, "b", &ids[1]));
    site.ok(&["--repo", "b", "verify"]);
}

#[test]
fn damage_where_one_may_only_add_keeps_nothing_else_from_being_copied() {
    let site = behind();
    let ids = backups(&site, "a");
    site.ok(&["repository", "copy", "--wal-only"]);
    let first = fs::read_to_string(place(&site, "a").join(format!("main/backup/{}.json", ids[0])));
    let first: serde_json::Value = serde_json::from_str(&first.unwrap()).unwrap();
    let damaged = object(&site, "b", first["start_wal"].as_str().unwrap());
    fs::write(&damaged, b"").unwrap();
    only_add(&site);
    let said = site.fails(6, &["repository", "copy"]);
    assert!(said.contains(&format!("backup {} is not copied", ids[0])), "{said}");
    assert!(said.contains("only adds"), "{said}");
    assert_eq!(backups(&site, "b"), ids[1..], "{said}");
    // Who may do all mends it.
    configure(&site, "", "");
    site.ok(&["repository", "copy"]);
    assert_eq!(backups(&site, "b"), ids);
    site.ok(&["--repo", "b", "verify"]);
}

#[test]
fn a_named_backup_is_restored_from_where_it_leads_to_the_target() {
    let site = behind();
    site.ok(&["repository", "copy"]);
    // In b, all that came after it is there, too.
    let ids = leave_alone(&site);
    let target = place(&site, "target").display().to_string();
    let restore = ["restore", "-n", "--data", &target, &ids[0]];
    let output = site.command(&restore).output().unwrap();
    let text = said(&restore, &output);
    assert!(output.status.success() && text.contains("from repository \"b\""), "{text}");
    let text = site.fails(1, &[&["--repo", "a"], &restore[..]].concat());
    assert!(text.contains("--immediate"), "{text}");
}

#[test]
fn a_copy_waits_for_no_backup_and_keeps_others_from_its_own() {
    let site = behind();
    let mut holder = site.command(&["--repo", "b", "backup"]);
    holder.env("WALMGR_FAILPOINT", "backup.copied=stop").stderr(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut lines = BufReader::new(holder.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(" started at ")));
    let said = site.fails(3, &["repository", "copy"]);
    assert!(said.contains("locks/backup"), "{said}");
    holder.kill().unwrap();
    holder.wait().unwrap();

    let mut copy = site.command(&["repository", "copy"]);
    copy.env("WALMGR_FAILPOINT", "copy.object=stop@2").stderr(Stdio::null());
    let mut copy = copy.spawn().unwrap();
    let packs = place(&site, "b").join("main/pack");
    let has_begun = || fs::read_dir(&packs).is_ok_and(|mut all| all.next().is_some());
    assert!(wait_until(PATIENCE, has_begun), "nothing was copied");
    for args in [&["--repo", "b", "backup"][..], &["--repo", "b", "expire", "--keep", "1"]] {
        let said = site.fails(3, args);
        assert!(said.contains("locks/backup"), "{said}");
    }
    copy.kill().unwrap();
    copy.wait().unwrap();
    site.ok(&["repository", "copy"]);
}

/// Each request is a round trip, and is paid for.
#[test]
fn what_is_copied_costs_a_store_few_requests() {
    let server = ObjectServer::start(Dialect::S3);
    let cluster = archiving().start();
    let top = cluster.dir().to_owned();
    let place = server.place(&top.join("secret"));
    let keys = place.lines().map(|line| line.strip_prefix("repository.").unwrap_or(line));
    let of_b = keys.collect::<Vec<_>>().join("\n");
    let site = Site::at(cluster, &top.join("a"), String::new());
    site.configure(&format!(
        "[[repository]]\nname = 'a'\npath = '{}/a'\n\
         [[repository]]\nname = 'b'\nrequired = false\n{of_b}\n",
        top.display()
    ));
    site.ok(&["setup"]);
    let _daemon = Daemon::start(&site, "");
    row(&site, 0);
    site.archive_all();
    let has_all = || {
        let names = server.names();
        segments(&site, "a").iter().all(|segment| names.iter().any(|name| name.ends_with(segment)))
    };
    assert!(wait_until(PATIENCE, has_all), "nothing was copied");
    // What waits for the store comes in one go.
    let before = segments(&site, "a").len();
    server.misbehave(Fault::Status(503));
    for n in 1..=20 {
        row(&site, n);
        site.archive_all();
    }
    let asked = server.requests();
    server.misbehave(Fault::None);
    assert!(wait_until(PATIENCE, has_all), "the backlog stays");
    let all = segments(&site, "a");
    let (asked, files) = (server.requests() - asked, (all.len() - before) as u64);
    assert!(asked < 3 * files, "{asked} requests for {files} files");

    // And each object is read once.
    all.iter().for_each(|segment| fs::remove_file(object(&site, "a", segment)).unwrap());
    let asked = server.requests();
    site.ok(&["repository", "copy", "--wal-only", "--from", "b", "--to", "a"]);
    let (asked, files) = (server.requests() - asked, all.len() as u64);
    assert_eq!(segments(&site, "a"), all);
    assert!(asked < 4 * files, "{asked} requests for {files} files");
}

#[test]
fn what_two_servers_archived_is_not_mixed() {
    let site = behind();
    let shared = segments(&site, "b");
    let (last, other) = (shared.last().unwrap(), segments(&site, "a").pop().unwrap());
    fs::copy(object(&site, "a", &other), object(&site, "b", last)).unwrap();
    let before = segments(&site, "b");
    for args in [&["repository", "copy"][..], &["repository", "copy", "--wal-only"]] {
        let said = site.fails(5, args);
        assert!(said.contains(last.as_str()) && said.contains("two servers"), "{said}");
    }
    assert_eq!(segments(&site, "b"), before);
    assert_eq!(backups(&site, "b").len(), 0);
}

#[test]
fn a_backlog_brings_nothing_back_that_was_expired() {
    let site = site("", "required = false\npatience = '200ms'");
    row(&site, 1);
    site.archive_all();
    site.archive_all();
    site.ok(&["--repo", "b", "backup"]);
    site.ok(&["--repo", "b", "expire", "--keep", "1"]);
    let kept = segments(&site, "b");
    assert!(kept.len() < segments(&site, "a").len(), "nothing was expired");
    away(&site, "b", true);
    row(&site, 2);
    site.archive_all();
    away(&site, "b", false);
    let last = segments(&site, "a").pop().unwrap();
    let _daemon = Daemon::start(&site, "");
    assert!(wait_until(PATIENCE, || segments(&site, "b").contains(&last)));
    row(&site, 3);
    site.archive_all();
    let last = segments(&site, "a").pop().unwrap();
    assert!(wait_until(PATIENCE, || segments(&site, "b").contains(&last)));
    let from: Vec<_> = segments(&site, "a").into_iter().filter(|one| *one >= kept[0]).collect();
    assert_eq!(segments(&site, "b"), from);
}

#[test]
fn a_fault_of_one_repositorys_thread_is_a_failure_and_no_hang() {
    let cluster = archiving().set("archive_command", "false").start();
    let a = cluster.dir().join("a");
    let site = Site::at(cluster, &a, String::new());
    configure(&site, "", "");
    site.ok(&["setup", "--repository-only"]);
    let top = site.cluster.dir().display().to_string();
    let b = hanging(&site);
    site.configure(&format!("[[repository]]\nname = 'a'\npath = '{top}/a'\n{b}"));
    row(&site, 1);
    let segment = site.cluster.psql("postgres", "select pg_walfile_name(pg_switch_wal())");
    let push = ["archive-push", &format!("pg_wal/{segment}")];
    let mut command = site.command(&push);
    let mut child = command.env("WALMGR_FAILPOINT", "push.one=panic").spawn().unwrap();
    let mut ended = None;
    let has_ended = wait_until(PATIENCE, || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    let _ = child.kill();
    let _ = child.wait();
    assert!(has_ended, "it hangs");
    assert_eq!(ended.unwrap().code(), Some(1));

    // The daemon dies of it, and its client stores the file itself.
    configure(&site, "", "");
    let mut daemon = Daemon::start(&site, "push.one=panic");
    site.ok(&push);
    assert!(wait_until(PATIENCE, || !daemon.is_running()));
    assert!(segments(&site, "a").contains(&segment) && segments(&site, "b").contains(&segment));
}

#[test]
fn each_system_goes_to_its_own_place_and_none_before_the_first() {
    let mut old = site("", "");
    row(&old, 1);
    old.ok(&["backup"]);
    let before = system(&old);
    old.cluster.stop(Stop::Fast);
    let new = Site::at(upgraded(&old.cluster), &place(&old, "a"), String::new());
    let of = |name: &str| {
        format!("[[repository]]\nname = '{name}'\npath = '{}'\n", place(&old, name).display())
    };
    let top = new.cluster.dir().display().to_string();
    let c = format!("[[repository]]\nname = 'c'\npath = '{top}/c'\n");
    new.configure(&format!("{}{}{c}", of("a"), of("b")));
    new.ok(&["--repo", "a", "stanza-upgrade"]);
    new.ok(&["--repo", "c", "setup", "--repository-only"]);
    new.configure(&of("a"));
    new.ok(&["setup"]);
    new.cluster.psql("postgres", "insert into t values (2)");
    new.ok(&["backup"]);
    new.configure(&format!("{}{}{c}", of("a"), of("b")));

    // c was made after the upgrade, b does not know of it.
    let output = new.command(&["repository", "copy"]).output().unwrap();
    let text = said(&["repository", "copy"], &output);
    assert!(output.status.success(), "{text}");
    let skips = format!("nothing of system {before} is copied: repository \"c\"");
    assert!(text.contains(&skips) && !text.contains("repository \"b\" is of later"), "{text}");
    let all = backups(&new, "a");
    assert_eq!(all.len(), 2);
    assert_eq!(backups(&new, "b"), all);
    assert_eq!(backups(&new, "c"), all[1..]);
    for name in ["b", "c"] {
        new.ok(&["--repo", name, "verify"]);
    }
    assert!(!place(&old, "b").join("main/3").exists());
}

#[test]
fn a_restore_reads_on_from_another_repository_that_has_the_same_backup() {
    for damaged in ["pack", "manifest"] {
        let mut site = site("", "");
        row(&site, 1);
        site.ok(&["backup"]);
        site.ok(&["repository", "copy"]);
        row(&site, 2);
        site.archive_all();
        let id = backups(&site, "a").pop().unwrap();
        let object = match damaged {
            "pack" => pack_of(&site, "a", &id),
            _ => place(&site, "a").join(format!("main/backup/{id}.manifest")),
        };
        let mut bytes = fs::read(&object).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&object, bytes).unwrap();
        site.cluster.stop(Stop::Fast);
        fs::remove_dir_all(site.cluster.data_dir()).unwrap();
        site.fails(6, &["--repo", "a", "restore", "--force"]);
        let output = site.command(&["restore", "--force"]).output().unwrap();
        let text = said(&["restore"], &output);
        assert!(output.status.success() && text.contains("is read from"), "{text}");
        site.cluster.start();
        let rows = || site.cluster.psql("postgres", "select count(*) from t");
        assert!(wait_until(PATIENCE, || rows() == "2"), "{}", site.cluster.log());
    }
}

/// Give all below a directory to its owner.
fn own_all_as(directory: &Path) {
    for (path, _) in snapshot(directory) {
        own_as(directory, &path);
    }
}
