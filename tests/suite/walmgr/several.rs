//! Several repositories: what is acknowledged is in all that are required, the others catch up, and
//! a server gets its WAL from whichever has it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgq_tests::site::{Site, archiving, snapshot, write_owned};
use pgq_tests::{Stop, wait_until};

use super::daemon::Daemon;

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

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
    assert_eq!(segments(&site, "a"), segments(&site, "b"));
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
    fs::write(&program, "#!/bin/sh\nexec cat >/dev/null\n").unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
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
    site.ok(&["setup", "--repository-only"]);
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

/// The name of the segment after one, of 1 MiB each.
fn next_of(segment: &str) -> String {
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
fn a_configuration_that_means_nothing_is_refused() {
    let site = site("", "");
    for (of_a, of_b, why) in [
        ("", "name = 'a'", "name"),
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
