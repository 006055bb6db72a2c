//! Limits: what has one takes its time, and archiving does not wait for it.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use pgq_tests::site::Site;
use pgq_tests::{PATIENCE, wait_until};

use crate::walmgr::backup::{primary, target};

/// Nice values of all threads of a process.
fn nice_values(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    // The name, in parentheses, may have blanks.
    let fields = stats.filter_map(|stat| Some(stat.rsplit_once(')')?.1.to_owned()));
    fields.filter_map(|rest| rest.split_whitespace().nth(16).map(str::to_owned)).collect()
}

fn is_running(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

/// False when a process has done its work faster than a limit lets it, which is less than half of
/// what it takes. A host that is slow makes it only slower.
fn has_limit(child: &mut Child, begin: Instant) -> bool {
    is_running(child) || begin.elapsed() > Duration::from_secs(20)
}

/// A primary of some forty megabytes that do not compress, where backups take most of a minute.
fn slow() -> Site {
    let site = primary();
    site.cluster.psql(
        "postgres",
        "create table large as select g, decode(string_agg(md5(random()::text), ''), 'hex') as x
           from generate_series(1, 100) g, generate_series(1, 20000) group by 1",
    );
    site.configure(
        "repository.compression = 'none'\n\
         limits.backup = '1MB/s'\nlimits.nice = 7\nlimits.idle_io = true\n\
         backup.jobs = 3",
    );
    site
}

#[test]
fn a_backup_at_its_limit_is_polite_and_holds_up_no_archiving() {
    let site = slow();
    // The tests may be polite themselves.
    let own: u8 = nice_values(std::process::id())[0].parse().unwrap();
    let wanted = (own + 7).min(19).to_string();
    let begin = Instant::now();
    let mut backup = site.command(&["backup"]).spawn().unwrap();
    let polite = || {
        let values = nice_values(backup.id());
        // The main thread, three that copy, one that shows how far they are.
        values.len() >= 4 && values.iter().all(|value| *value == wanted)
    };
    assert!(wait_until(PATIENCE, polite), "{:?}", nice_values(backup.id()));
    let class = Command::new("ionice").arg("-p").arg(backup.id().to_string()).output().unwrap();
    assert!(String::from_utf8_lossy(&class.stdout).contains("idle"), "{class:?}");
    // More than the backup may have meanwhile, and than it would have needed without a limit.
    for _ in 0..30 {
        site.archive_all();
    }
    assert!(has_limit(&mut backup, begin), "the backup had no limit");
    // It may have ended.
    let _ = backup.kill();
    backup.wait().unwrap();
}

#[test]
fn a_restore_has_its_limit() {
    let site = slow();
    site.configure("repository.compression = 'none'");
    site.ok(&["backup"]);
    let copy = target(&site);
    copy.configure("limits.restore = '1MB/s'\nbackup.jobs = 3");
    let begin = Instant::now();
    let mut restore = copy.command(&["restore", "--no-archive"]).spawn().unwrap();
    let begun = || copy.cluster.data_dir().join("walmgr.restoring").exists();
    assert!(wait_until(PATIENCE, || begun() || !is_running(&mut restore)));
    // Reads all that the restore reads, without a limit.
    copy.ok(&["verify"]);
    assert!(has_limit(&mut restore, begin), "the restore had no limit");
    // It may have ended.
    let _ = restore.kill();
    restore.wait().unwrap();
}
