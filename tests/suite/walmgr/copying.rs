//! What is copied from one repository to another, and what must not come of it.

use std::fs::{self, File};
use std::path::Path;

use pgq_tests::site::snapshot;
use pgq_tests::wait_until;

use super::daemon::Daemon;
use super::several::{PATIENCE, place, row, segments, site};

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
    fs::remove_dir_all(&stanza).unwrap();
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
