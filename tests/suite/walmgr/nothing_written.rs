//! What must not write does not: dry runs of every verb, and reads of a repository that cannot be
//! written.

use std::fs;
use std::path::Path;
use std::process::Command;

use pgq_tests::{Cluster, Stop, Tree};

use pgq_tests::site::{Site, archiving, said, snapshot, write_owned};

/// All that a verb could change, except what a running server does by itself.
fn state(site: &Site, places: &[&Path]) -> (String, Vec<Vec<std::path::PathBuf>>, Vec<u8>) {
    let settings =
        "select md5(string_agg(name || '=' || coalesce(setting, ''), ',' order by name)),
                           (select count(*) from pg_replication_slots),
                           pg_is_in_recovery(), pg_walfile_name(pg_current_wal_insert_lsn())
                      from pg_settings where name !~ 'transaction_'";
    let names = |place: &&Path| snapshot(place).into_iter().map(|(path, _)| path).collect();
    let auto = fs::read(site.cluster.data_dir().join("postgresql.auto.conf")).unwrap();
    (site.cluster.psql("postgres", settings), places.iter().map(names).collect(), auto)
}

#[test]
fn a_dry_run_of_any_verb_changes_nothing() {
    let site = Site::new(archiving().start());
    site.ok(&["setup"]);
    for _ in 0..3 {
        site.ok(&["backup"]);
    }
    site.archive_all();
    let here = site.cluster.dir();
    let old = here.join("old");
    fs::create_dir_all(old.join("logs.complete")).unwrap();
    let target = here.join("target");
    let mark = here.join("mark");
    let spool = here.join("spool");
    site.configure(&format!(
        "commands.periodic = 'touch {}'\nsync.directory = '{}'\n\
         standby.primary_conninfo = \"{}\"\nexpire.keep = 1",
        mark.display(),
        spool.display(),
        site.cluster.conninfo("postgres"),
    ));
    let new = here.join("new.toml");
    let segment = site.segments("00000001").pop().unwrap();
    let fetched = here.join("fetched");
    let verbs: [&[&str]; 19] = [
        &["setup"],
        &["stop"],
        &["stop", "--discard"],
        &["archive-push", &format!("pg_wal/{segment}")],
        &["archive-get", &segment, fetched.to_str().unwrap()],
        &["daemon"],
        &["backup"],
        &["backup", "--incremental"],
        &["restore", "--data", target.to_str().unwrap()],
        &["expire", "--keep", "1"],
        &["createslave"],
        &["boot"],
        &["pause"],
        &["continue"],
        &["sync"],
        &["syncdaemon"],
        &["synch-standby", ""],
        &["periodic"],
        &["cleanup", "--yes"],
    ];
    // Settings that a server without them would get, so that there is something to change.
    site.cluster.psql("postgres", "alter system set synchronous_standby_names = 'walmgr'");
    site.cluster.psql("postgres", "alter system reset archive_command");
    site.cluster.reload();
    let places = [site.repository(), &target, &mark, &spool, &new, &fetched, &old];
    let before = state(&site, &places);
    let bytes = snapshot(site.repository());
    let mut done = 0;
    let extra: [&[&str]; 2] =
        [&["adopt", old.to_str().unwrap()], &["synch-standby", "ANY 1 (walmgr)"]];
    for args in verbs.iter().chain(&extra) {
        let args = [args, &["--dry-run"][..]].concat();
        let output = site.command(&args).output().unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("{}", said(&args, &output)));
        done += usize::from(code == 0);
        assert_eq!(state(&site, &places), before, "{}", said(&args, &output));
    }
    assert!(!fetched.exists(), "a dry run fetched");
    let mut init = site.cluster.run_as(here.join("walmgr"));
    init.arg("--config").arg(&new).args(["init", "-n", "--repository", "/r", "--connect"]);
    assert!(init.arg(site.cluster.conninfo("postgres")).output().unwrap().status.success());
    assert!(!new.exists());
    assert!(snapshot(site.repository()) == bytes, "the repository has changed");
    // Most are possible here; the others are refused, as they would be without the option.
    assert!(done >= 14, "only {done} dry runs were possible");
}

#[test]
fn a_read_only_repository_serves_restores_and_takes_nothing() {
    let mut site = Site::new(archiving().start());
    site.ok(&["setup"]);
    site.cluster.psql("postgres", "create table t as select 1");
    site.ok(&["backup"]);
    site.archive_all();
    let repository = site.repository().to_owned();
    let writable = |on: bool| {
        let mode = if on { "u+w" } else { "a-w" };
        let mut chmod = Command::new("chmod");
        assert!(chmod.arg("-R").arg(mode).arg(&repository).status().unwrap().success());
    };
    writable(false);
    let before = snapshot(site.repository());
    site.fails(4, &["backup"]);
    site.fails(4, &["expire", "--keep", "1"]);
    let history = site.cluster.dir().join("00000009.history");
    write_owned(&history, b"1\t0/3000000\tx\n");
    site.fails(4, &["archive-push", history.to_str().unwrap()]);
    site.ok(&["listbackups"]);
    site.ok(&["verify"]);
    // As a snapshot that was made before anybody took a lock.
    writable(true);
    fs::remove_dir_all(site.repository().join("main/locks")).unwrap();
    writable(false);
    site.ok(&["verify"]);

    site.cluster.stop(Stop::Fast);
    let mut copy = Site::beside(Cluster::empty(Tree::Ours), site.repository());
    copy.ok(&["restore", "--no-archive"]);
    copy.cluster.start();
    let cluster = &copy.cluster;
    let open = || cluster.psql("postgres", "select pg_is_in_recovery()") == "f";
    assert!(pgq_tests::wait_until(std::time::Duration::from_secs(180), open), "{}", cluster.log());
    assert_eq!(cluster.psql("postgres", "select count(*) from t"), "1");
    let unchanged = before.iter().filter(|(path, _)| !path.to_string_lossy().contains("/locks"));
    assert!(unchanged.cloned().collect::<Vec<_>>() == snapshot(site.repository()));
    writable(true);
}
