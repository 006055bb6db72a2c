//! Several repositories: what is acknowledged is in all that are required, the others catch up, and
//! a server gets its WAL from whichever has it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pgq_tests::site::{Site, archiving, said, snapshot, write_owned, write_program};
use pgq_tests::{PATIENCE, Stop, wait_until};

use super::daemon::Daemon;

/// A site with repositories `a` and `b`, and what the configuration says of each.
pub(super) fn site(of_a: &str, of_b: &str) -> Site {
    let cluster = archiving().start();
    let a = cluster.dir().join("a");
    let site = Site::at(cluster, &a, String::new());
    configure(&site, of_a, of_b);
    site.ok(&["setup"]);
    site
}

pub(super) fn configure(site: &Site, of_a: &str, of_b: &str) {
    let top = site.cluster.dir().display().to_string();
    site.configure(&format!(
        "[[repository]]\nname = 'a'\npath = '{top}/a'\n{of_a}\n\
         [[repository]]\nname = 'b'\npath = '{top}/b'\n{of_b}\n"
    ));
}

pub(super) fn place(site: &Site, name: &str) -> PathBuf {
    site.cluster.dir().join(name)
}

/// A repository is away, as a mount that is gone; or there again.
pub(super) fn away(site: &Site, name: &str, is_away: bool) {
    let mode = if is_away { 0 } else { 0o700 };
    fs::set_permissions(place(site, name), Permissions::from_mode(mode)).unwrap();
}

/// Segments in a repository.
pub(super) fn segments(site: &Site, name: &str) -> Vec<String> {
    let below = snapshot(&place(site, name).join("main/wal"));
    let leaf = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    below.iter().map(|(path, _)| leaf(path)).filter(|leaf| leaf.len() == 24).collect()
}

pub(super) fn row(site: &Site, n: i32) {
    site.cluster.psql(
        "postgres",
        &format!("create table if not exists t (n int); insert into t values ({n})"),
    );
}

#[test]
fn what_is_acknowledged_is_in_every_required_repository() {
    let site = site("", "");
    row(&site, 1);
    site.archive_all();
    // It is in the first one first.
    let same = || segments(&site, "a") == segments(&site, "b");
    assert!(wait_until(PATIENCE, same), "archived without b");
    assert!(!segments(&site, "a").is_empty());

    away(&site, "b", true);
    row(&site, 2);
    let segment = site.cluster.psql("postgres", "select pg_walfile_name(pg_switch_wal())");
    let failed = || site.cluster.psql("postgres", "select failed_count > 0 from pg_stat_archiver");
    assert!(wait_until(PATIENCE, || failed() == "t"), "archived without b");
    let said = site.fails(4, &["archive-push", &format!("pg_wal/{segment}")]);
    assert!(said.contains("\"b\""), "{said}");

    away(&site, "b", false);
    let both =
        || segments(&site, "b").contains(&segment) && segments(&site, "a").contains(&segment);
    assert!(wait_until(PATIENCE, both), "not archived when b was back");
}

#[test]
fn one_that_is_not_required_holds_up_nothing_and_is_filled_by_a_copy() {
    let site = site("", "required = false\npatience = '200ms'");
    away(&site, "b", true);
    for n in 1..=3 {
        row(&site, n);
        site.archive_all();
    }
    site.ok(&["backup"]);
    assert_eq!(site.cluster.psql("postgres", "select failed_count from pg_stat_archiver"), "0");
    away(&site, "b", false);
    assert!(segments(&site, "b").len() < segments(&site, "a").len());

    let dry = site.ok(&["--dry-run", "repository", "copy"]);
    assert!(dry.contains("would copy"), "{dry}");
    assert!(segments(&site, "b").len() < segments(&site, "a").len());

    // Killed anywhere, the copy goes on, and a backup is there only when it is whole.
    let killed = site.at_failpoint("copy.object=kill@2", &["repository", "copy"]);
    assert!(!killed.status.success());
    assert_eq!(site.ok(&["--repo", "b", "listbackups", "--json"]), "[]");
    site.ok(&["repository", "copy", "--from", "a", "--to", "b"]);
    let of = |name: &str| snapshot(&place(&site, name).join("main"));
    let without_locks = |name: &str| -> Vec<_> {
        let is_kept = |path: &Path| !path.components().any(|part| part.as_os_str() == "locks");
        of(name).into_iter().filter(|(path, _)| is_kept(path)).map(relative(&site, name)).collect()
    };
    assert_eq!(without_locks("a"), without_locks("b"));
    site.ok(&["--repo", "b", "verify"]);
    let again = site.command(&["repository", "copy"]).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("0 WAL files and 0 backups"), "{said}");
}

fn relative<'a>(
    site: &'a Site,
    name: &'a str,
) -> impl FnMut((PathBuf, Vec<u8>)) -> (PathBuf, Vec<u8>) + 'a {
    move |(path, bytes)| (path.strip_prefix(place(site, name)).unwrap_or(&path).to_owned(), bytes)
}

/// Configuration of a repository b that is not required and never answers.
pub(super) fn hanging(site: &Site) -> String {
    let program = site.cluster.dir().join("hang");
    write_program(&program, b"#!/bin/sh\nexec cat >/dev/null\n");
    format!(
        "[[repository]]\nname = 'b'\nrequired = false\npatience = '100ms'\n\
         ssh = {{ host = 'h', path = '/nowhere', command = '{}' }}\n",
        program.display()
    )
}

#[test]
fn one_that_hangs_holds_up_nothing() {
    let cluster = archiving().start();
    let a = cluster.dir().join("a");
    let top = cluster.dir().display().to_string();
    let site = Site::at(cluster, &a, String::new());
    site.configure(&format!("repository.path = '{top}/a'"));
    site.ok(&["setup"]);
    let b = hanging(&site);
    site.configure(&format!("[[repository]]\nname = 'a'\npath = '{top}/a'\n{b}"));
    row(&site, 1);
    site.archive_all();
    let hung = || site.cluster.log().contains("is not stored after 100ms");
    assert!(wait_until(PATIENCE, hung), "b did not hang");
    assert_eq!(site.cluster.psql("postgres", "select failed_count from pg_stat_archiver"), "0");
}

#[test]
fn the_daemon_fills_what_another_lacks_by_itself() {
    let site = site("", "required = false");
    let _daemon = Daemon::start(&site, "");
    row(&site, 1);
    site.archive_all();
    let same = || segments(&site, "a") == segments(&site, "b");
    assert!(wait_until(PATIENCE, same), "nothing was copied");

    away(&site, "b", true);
    for n in 2..=4 {
        row(&site, n);
        site.archive_all();
    }
    assert_eq!(site.cluster.psql("postgres", "select failed_count from pg_stat_archiver"), "0");
    away(&site, "b", false);
    assert!(wait_until(PATIENCE, same), "the backlog stays");
}

#[test]
fn a_daemon_that_fetches_ahead_does_not_say_so_for_each_segment() {
    let site = site("", "");
    for n in 1..=3 {
        row(&site, n);
        site.archive_all();
    }
    let said = site.cluster.dir().join("said");
    let _daemon = Daemon::saying(&site, "", File::create(&said).unwrap());
    let all = segments(&site, "a");
    for segment in &all {
        site.ok(&["archive-get", segment, "got"]);
    }
    let said = fs::read_to_string(&said).unwrap();
    assert!(all.len() > 3 && !said.contains("repository"), "{said}");
}

/// Each answer of archive-get to a server in recovery: who has the segment, who is away.
#[test]
fn a_file_is_absent_only_if_that_is_known() {
    let site = site("", "required = false\npatience = '200ms'");
    for n in 1..=3 {
        row(&site, n);
        site.archive_all();
    }
    site.ok(&["repository", "copy"]);
    let all = segments(&site, "a");
    let (last, next) = (all.last().unwrap().clone(), next_of(all.last().unwrap()));
    write_owned(&site.cluster.data_dir().join("recovery.signal"), b"");
    let get = |name: &str| site.command(&["archive-get", name, "got"]).output().unwrap();
    let code = |name: &str| get(name).status.code();

    assert_eq!(code(&last), Some(0));
    assert_eq!(code(&next), Some(1), "both say so");
    away(&site, "b", true);
    assert_eq!(code(&last), Some(0));
    assert_eq!(code(&next), Some(1), "the required one has the segment before it");
    assert_eq!(code("00000002.history"), Some(1), "and what the first timeline has");
    away(&site, "b", false);
    away(&site, "a", true);
    let from_b = get(&last);
    let said = String::from_utf8_lossy(&from_b.stderr).into_owned();
    assert_eq!(from_b.status.code(), Some(0), "{said}");
    assert!(said.contains("from repository \"b\""), "{said}");
    assert_eq!(code(&next), Some(200), "one that is not required cannot know it");
    away(&site, "a", false);

    // A required one that came later does not know what was before.
    configure(&site, "required = false", "");
    fs::remove_dir_all(place(&site, "b")).unwrap();
    site.ok(&["--repo", "b", "setup", "--repository-only"]);
    away(&site, "a", true);
    assert_eq!(code(&last), Some(200));
    assert_eq!(code("00000002.history"), Some(200));
    away(&site, "a", false);

    // A damaged object in one is not the end.
    let object = site.object(&last);
    fs::write(&object, b"nothing").unwrap();
    configure(&site, "", "");
    let said = site.fails(6, &["repository", "copy", "--wal-only"]);
    assert!(said.contains("1 damaged WAL file not copied"), "{said}");
    assert_eq!(segments(&site, "b").len() + 1, all.len(), "the others are copied");
    let b = place(&site, "b").join(object.strip_prefix(place(&site, "a")).unwrap());
    assert!(!b.exists(), "damage was copied");
}

/// The first segment of a timeline follows its history, and not a segment of its own.
#[test]
fn that_a_timeline_has_no_segment_yet_is_known() {
    let site = site("", "required = false\npatience = '200ms'");
    for n in 1..=3 {
        row(&site, n);
        site.archive_all();
    }
    let all = segments(&site, "a");
    let next = next_of(all.last().unwrap());
    let number = u64::from_str_radix(&next[8..], 16).unwrap();
    let history = site.cluster.dir().join("00000002.history");
    write_owned(&history, format!("1\t0/{:X}\tx\n", (number << 20) + 0x28).as_bytes());
    site.ok(&["archive-push", history.to_str().unwrap()]);
    write_owned(&site.cluster.data_dir().join("recovery.signal"), b"");
    away(&site, "b", true);
    let on_second = |segment: &str| format!("00000002{}", &segment[8..]);
    let get = |name: &str| site.command(&["archive-get", name, "got"]).output().unwrap();
    let code = |name: &str| get(name).status.code();
    assert_eq!(code(&on_second(&next)), Some(1));
    assert_eq!(code(&on_second(&next_of(&next))), Some(200), "what comes before it is not there");
    // A copy that was cut off has brought histories, and the newest segment of the first timeline.
    for segment in &all[..all.len() - 1] {
        fs::remove_file(site.object(segment)).unwrap();
    }
    assert_eq!(code(&on_second(&next)), Some(200));
}

/// Which content a name stands for is decided in one place.
#[test]
fn nobody_takes_what_the_first_required_repository_refuses() {
    let site = site("", "");
    let best_effort = "required = false\npatience = '60s'";
    let turns = [(2, "", false), (3, "", true), (4, best_effort, false), (5, best_effort, true)];
    for (timeline, of_b, with_daemon) in turns {
        configure(&site, "", of_b);
        let _daemon = with_daemon.then(|| Daemon::start(&site, ""));
        let name = format!("{timeline:08X}.history");
        let path = format!("pg_wal/{name}");
        let push = |content: &str| {
            write_owned(&site.cluster.data_dir().join(&path), content.as_bytes());
            site.command(&["archive-push", &path]).output().unwrap().status.code()
        };
        let (own, other) = ("1\t0/300000\tx\n", "1\t0/400000\tx\n");
        let turn = format!("{of_b}, {with_daemon}");
        away(&site, "b", true);
        assert_eq!(push(own), Some(if of_b.is_empty() { 4 } else { 0 }), "{turn}");
        away(&site, "b", false);
        // Of another server on this timeline.
        assert_eq!(push(other), Some(5), "{turn}");
        assert_eq!(push(own), Some(0), "{turn}");
        let object = |of: &str| fs::read(place(&site, of).join("main/wal").join(&name)).ok();
        let same = || object("a").is_some() && object("a") == object("b");
        assert!(wait_until(PATIENCE, same), "{turn}");
    }
}

#[test]
fn the_daemon_stands_for_all_repositories_and_not_for_one() {
    let site = site("", "required = false");
    site.fails(2, &["--repo", "a", "daemon"]);
    let _daemon = Daemon::start(&site, "");
    let segment = site.cluster.psql("postgres", "select pg_walfile_name(pg_switch_wal())");
    site.archive_all();
    away(&site, "a", true);
    let object = object_of(&site, "b", &segment);
    let _ = fs::remove_file(&object);
    site.ok(&["--repo", "b", "archive-push", &format!("pg_wal/{segment}")]);
    assert!(object.exists());
    site.fails(200, &["--repo", "a", "archive-get", &segment, "got"]);
    site.ok(&["--repo", "b", "archive-get", &segment, "got"]);
    away(&site, "a", false);
}

/// Where a repository has a segment.
fn object_of(site: &Site, name: &str, segment: &str) -> PathBuf {
    let directory = place(site, name).join("main/wal").join(&segment[..8]);
    directory.join(&segment[8..16]).join(segment)
}

/// The name of the segment after one, of 1 MiB each.
pub(super) fn next_of(segment: &str) -> String {
    let number = u64::from_str_radix(&segment[8..], 16).unwrap() + 1;
    format!("{}{number:016X}", &segment[..8])
}

#[test]
fn a_restore_goes_by_the_first_that_has_what_leads_there() {
    let mut site = site("", "");
    row(&site, 1);
    site.ok(&["--repo", "b", "backup"]);
    row(&site, 2);
    site.archive_all();
    let listed = site.ok(&["listbackups", "--json"]);
    assert!(listed.contains("\"repository\": \"b\"") && !listed.contains("\"a\""), "{listed}");
    let metrics = site.ok(&["info", "--prometheus"]);
    for name in ["a", "b"] {
        assert!(metrics.contains(&format!("repository=\"{name}\"")), "{metrics}");
    }
    site.cluster.stop(Stop::Fast);
    fs::remove_dir_all(site.cluster.data_dir()).unwrap();
    // What is damaged in the one is whole in the other.
    let last = site.object(segments(&site, "a").last().unwrap());
    fs::write(&last, b"nothing").unwrap();
    site.ok(&["restore"]);
    site.cluster.start();
    let rows = || site.cluster.psql("postgres", "select count(*) from t");
    assert!(wait_until(PATIENCE, || rows() == "2"), "{}", site.cluster.log());
}

#[test]
fn a_backup_goes_into_all_and_fails_in_none_but_its_own() {
    let site = site("", "required = false\npatience = '60s'");
    row(&site, 1);
    let list = |name: &str| -> Vec<String> {
        let list = site.ok(&["--repo", name, "listbackups", "--json"]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().into()).collect()
    };
    site.configure(&format!(
        "expire.keep = 1\n\
         [[repository]]\nname = 'a'\npath = '{0}/a'\n\
         [[repository]]\nname = 'b'\npath = '{0}/b'\nrequired = false\npatience = '60s'\n",
        site.cluster.dir().display()
    ));
    site.ok(&["backup", "--all"]);
    let first = list("a");
    assert_eq!((first.len(), &list("b")), (1, &first));
    site.ok(&["--repo", "b", "verify"]);
    site.fails(2, &["--repo", "b", "backup", "--all"]);

    // One that is away keeps what it has, and says so.
    away(&site, "b", true);
    let said = site.fails(4, &["backup", "--all"]);
    assert!(said.contains("\"b\""), "{said}");
    away(&site, "b", false);
    let second = list("a");
    assert!(second.len() == 1 && second != first, "the rules are each repository's own");
    assert_eq!(list("b"), first);
    // Killed between the two, it is in one.
    let killed = site.at_failpoint("copy.object=kill", &["backup", "--all"]);
    assert!(!killed.status.success());
    assert_eq!(list("b"), first);
    site.ok(&["backup", "--all"]);
    let last = list("b");
    assert!(last.len() == 1 && last != first && list("a") == last, "{last:?}");
    site.ok(&["verify"]);
}

#[test]
fn a_backup_into_all_goes_on_without_the_first() {
    let site = site("required = false\npatience = '200ms'", "");
    row(&site, 1);
    let count = |name: &str| {
        let list = site.ok(&["--repo", name, "listbackups", "--json"]);
        serde_json::from_str::<serde_json::Value>(&list).unwrap().as_array().unwrap().len()
    };
    away(&site, "a", true);
    let said = site.fails(4, &["backup", "--all"]);
    assert!(said.contains("\"a\""), "{said}");
    assert_eq!(count("b"), 1, "{said}");
    away(&site, "a", false);
    site.ok(&["repository", "copy", "--from", "b", "--to", "a"]);
    assert_eq!(count("a"), 1);
    site.ok(&["verify"]);
}

#[test]
fn a_backup_into_all_passes_over_no_lock_and_no_damage() {
    let site = site("", "");
    row(&site, 1);
    let backups = |name: &str| {
        let list = site.ok(&["--repo", name, "listbackups", "--json"]);
        serde_json::from_str::<serde_json::Value>(&list).unwrap().as_array().unwrap().len()
    };
    let lock = place(&site, "a").join("main/locks/backup");
    site.ok(&["backup", "--all"]);
    let held = File::open(&lock).unwrap();
    held.lock().unwrap();
    site.fails(3, &["backup", "--all"]);
    held.unlock().unwrap();
    assert_eq!((backups("a"), backups("b")), (1, 1));
    // That one is what the next would rest on.
    let id = site.ok(&["--repo", "a", "listbackups", "--json"]);
    let id = serde_json::from_str::<serde_json::Value>(&id).unwrap()[0]["id"].clone();
    let manifest = place(&site, "a").join(format!("main/backup/{}.manifest", id.as_str().unwrap()));
    fs::write(&manifest, b"nothing").unwrap();
    site.fails(6, &["backup", "--all", "--incremental"]);
    assert_eq!(backups("b"), 1);
}

#[test]
fn a_configuration_that_means_nothing_is_refused() {
    let site = site("", "");
    for (of_a, of_b, why) in [
        ("", "name = 'a'", "duplicate key"),
        ("required = false", "required = false", "required"),
        ("patience = '0s'", "", "patience"),
    ] {
        configure(&site, of_a, of_b);
        let said = site.fails(2, &["info"]);
        assert!(said.contains(why), "{said}");
    }
    configure(&site, "", "");
    let said = site.fails(2, &["--repo", "c", "info"]);
    assert!(said.contains("there is no repository \"c\", but a, b"), "{said}");
    let said = site.fails(2, &["cleanup"]);
    assert!(said.contains("--repo says in which repository: a, b"), "{said}");
    let listed = site.ok(&["repository", "list"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
}

#[test]
fn a_daemon_acknowledges_nothing_by_a_configuration_that_was_changed() {
    let cluster = archiving().set("archive_command", "false").start();
    let a = cluster.dir().join("a");
    let site = Site::at(cluster, &a, String::new());
    let top = site.cluster.dir().display().to_string();
    site.configure(&format!("[[repository]]\nname = 'a'\npath = '{top}/a'\n"));
    site.ok(&["setup", "--repository-only"]);
    let segment = |n| {
        row(&site, n);
        site.cluster.psql("postgres", "select pg_walfile_name(pg_switch_wal())")
    };
    let push = |segment: &str| site.ok(&["archive-push", &format!("pg_wal/{segment}")]);
    let (first, second) = (segment(1), segment(2));
    let mut daemon = Daemon::start(&site, "");
    push(&first);
    // It is stored ahead, by what the daemon knows.
    assert!(wait_until(PATIENCE, || segments(&site, "a").contains(&second)));
    configure(&site, "", "");
    site.ok(&["setup", "--repository-only"]);
    push(&second);
    assert_eq!(segments(&site, "b"), std::slice::from_ref(&second), "acknowledged, and not in b");
    assert!(wait_until(PATIENCE, || !daemon.is_running()), "it serves the old configuration");

    // Nor is it asked for one repository of several.
    let third = segment(3);
    let _daemon = Daemon::start(&site, "");
    site.ok(&["--repo", "b", "archive-push", &format!("pg_wal/{third}")]);
    assert_eq!(segments(&site, "a"), [first.clone(), second]);
    assert!(segments(&site, "b").contains(&third));
    let get = ["--repo", "b", "archive-get", &first, "got"];
    let output = site.command(&get).output().unwrap();
    assert_ne!(output.status.code(), Some(0), "it is in a alone");
}

#[test]
fn what_was_stored_by_a_configuration_that_was_changed_meanwhile_is_not_acknowledged() {
    let cluster = archiving().set("archive_command", "false").start();
    let a = cluster.dir().join("a");
    let site = Site::at(cluster, &a, String::new());
    let top = site.cluster.dir().display().to_string();
    site.configure(&format!("[[repository]]\nname = 'a'\npath = '{top}/a'\n"));
    site.ok(&["setup", "--repository-only"]);
    row(&site, 1);
    let segment = site.cluster.psql("postgres", "select pg_walfile_name(pg_switch_wal())");
    let push = ["archive-push", &format!("pg_wal/{segment}")];
    let mut command = site.command(&push);
    command.env("WALMGR_FAILPOINT", "push.one=pause").stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let stat = || fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    assert!(wait_until(PATIENCE, || stat().contains(") T ")), "it is not in the middle of it");
    configure(&site, "", "");
    let go_on = Command::new("kill").args(["-CONT", &child.id().to_string()]).status();
    assert!(go_on.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = said(&push, &output);
    assert!(output.status.code() == Some(1) && text.contains("was changed"), "{text}");
    site.ok(&["setup", "--repository-only"]);
    site.ok(&push);
    assert_eq!(segments(&site, "b"), [segment]);
}
