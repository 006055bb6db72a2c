//! adopt: what walmgr3 left is taken over, what cannot be is named, and the old files stay as they
//! are.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};

use pgq_tests::site::{Site, archiving, said, snapshot, write_owned};

/// A cluster that archived and was backed up as walmgr3 did it.
struct Old {
    site: Site,
    top: PathBuf,
    oid: String,
}

fn old() -> Old {
    let cluster = archiving()
        .set("archive_command", "cp %p ../walshipping/logs.complete/%f")
        .set("log_timezone", "UTC")
        .create();
    let top = cluster.dir().join("walshipping");
    let mut made = cluster.run_as("mkdir");
    let names = ["logs.complete", "logs.partial", "config.backup"].map(|name| top.join(name));
    assert!(
        made.arg("-p").args(names).arg(cluster.dir().join("space")).status().unwrap().success()
    );
    let mut site = Site::new(cluster);
    site.cluster.start();
    let space = format!(
        "create tablespace elsewhere location '{}'",
        site.cluster.dir().join("space").display()
    );
    site.cluster.psql("postgres", &space);
    site.cluster.psql(
        "postgres",
        "create table t (n int); create table far (n int) tablespace elsewhere;
         create table filler as select g, md5(g::text) from generate_series(1, 20000) g",
    );
    let oid = "select oid from pg_tablespace where spcname = 'elsewhere'";
    let oid = site.cluster.psql("postgres", oid);
    Old { site, top, oid }
}

impl Old {
    /// A base backup: the label goes into the copy, tablespaces below `tmpspc`, configuration files
    /// beside.
    fn back_up(&self, name: &str) {
        let mut client = self.site.cluster.connect("postgres");
        client.execute("select pg_backup_start('FullBackup', true)", &[]).unwrap();
        let copy = self.top.join(name);
        let script = format!(
            "set -e; cp -a {data} {copy}; cd {copy}
             rm -rf postmaster.* *.conf pg_tblspc log pg_wal; mkdir -p pg_xlog/archive_status
             mkdir tmpspc; cp -a {data}/pg_tblspc/{oid}/ tmpspc/{oid}
             cp -a {data}/*.conf {top}/config.backup/",
            data = self.site.cluster.data_dir().display(),
            copy = copy.display(),
            top = self.top.display(),
            oid = self.oid,
        );
        let mut shell = self.site.cluster.run_as("bash");
        assert!(shell.args(["-c", &script]).status().unwrap().success());
        let row =
            client.query_one("select labelfile, spcmapfile from pg_backup_stop()", &[]).unwrap();
        write_owned(&copy.join("backup_label"), row.get::<_, String>(0).as_bytes());
        write_owned(&copy.join("tablespace_map"), row.get::<_, String>(1).as_bytes());
    }

    fn insert(&self, n: i32) {
        let cluster = &self.site.cluster;
        cluster
            .psql("postgres", &format!("insert into t values ({n}); insert into far values ({n})"));
        let walfile = "select pg_walfile_name(pg_switch_wal()) from pg_create_restore_point('x')";
        let walfile = cluster.psql("postgres", walfile);
        let archived = wait_until(PATIENCE, || {
            let last = "select coalesce(left(last_archived_wal, 24), '') from pg_stat_archiver";
            cluster.psql("postgres", last) >= walfile
        });
        assert!(archived, "{}", cluster.log());
    }

    fn backups(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.site.ok(&["listbackups", "--json"])).unwrap()
    }

    fn adopt(&self) -> [&str; 2] {
        ["adopt", self.top.to_str().unwrap()]
    }

    /// A backup restores, replays the whole archive and has every row.
    fn assert_restores(&self, backup: Option<&str>, rows: &str) {
        let mut copy = Site::beside(Cluster::empty(Tree::Ours), self.site.repository());
        let map = format!("{}={}", self.oid, copy.cluster.dir().join("moved").display());
        let mut args = vec!["restore", "--no-archive", "--tablespace-map", &map];
        args.extend(backup);
        copy.ok(&args);
        let mut check = copy.cluster.run_as(copy.cluster.tree().bin().join("pg_verifybackup"));
        let output = check.arg("--no-parse-wal").arg(copy.cluster.data_dir()).output().unwrap();
        assert!(output.status.success(), "{}", said(&["pg_verifybackup"], &output));
        copy.cluster.start_without_waiting();
        let cluster = &mut copy.cluster;
        let finished = wait_until(PATIENCE, || {
            !cluster.is_running()
                || cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
                    let open = client.query_one("select not pg_is_in_recovery()", &[]);
                    open.is_ok_and(|row| row.get(0))
                })
        });
        assert!(finished && cluster.is_running(), "{}", cluster.log());
        for table in ["t", "far"] {
            let count = cluster.psql("postgres", &format!("select count(*) from {table}"));
            assert_eq!(count, rows, "{table}: {}", cluster.log());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

#[test]
fn an_old_archive_and_its_backups_restore_from_the_new_repository() {
    let mut old = old();
    old.insert(1);
    old.back_up("data.master.0");
    old.insert(2);
    old.back_up("data.master");
    old.insert(3);
    // A segment that was growing, of no use once it is archived as a whole, and one that never was.
    old.site.cluster.psql("postgres", "create table more (n int)");
    let growing = "select pg_walfile_name(pg_current_wal_lsn())";
    let growing = old.site.cluster.psql("postgres", growing);
    let pg_wal = old.site.cluster.data_dir().join("pg_wal").join(&growing);
    copy(&pg_wal, &old.top.join("logs.partial").join(&growing));
    write_owned(&old.top.join("logs.complete/STOP"), b"");
    let before = snapshot(&old.top);

    old.site.fails(4, &old.adopt());
    old.site.fails(2, &["adopt", "/no/such/directory"]);
    old.site.fails(2, &["adopt"]);
    old.site.ok(&["setup", "--repository-only"]);
    let empty = snapshot(old.site.repository());
    let mut dry = old.adopt().to_vec();
    dry.push("--dry-run");
    let plan = old.site.ok(&dry);
    assert_eq!(empty, snapshot(old.site.repository()), "a dry run changed something");
    assert_eq!(plan.matches("would adopt").count(), 2, "{plan}");

    // Dies in the WAL, in a copy, before the commit; and is taken up each time.
    for failpoint in [
        "store.renamed=kill@3",
        "store.written=enospc@5",
        "backup.chunk=kill@40",
        "adopt.copied=kill",
        "adopt.manifest=kill",
    ] {
        let output = old.site.at_failpoint(failpoint, &old.adopt());
        let expected = if failpoint.contains("kill") {
            output.status.signal() == Some(9)
        } else {
            output.status.code() == Some(4)
        };
        assert!(expected, "{failpoint}: {}", said(&old.adopt(), &output));
        assert_eq!(old.backups().len(), 0, "{failpoint}");
    }
    old.site.ok(&old.adopt());
    let all = old.backups();
    assert_eq!(all.len(), 2);
    assert!(all[1]["added"].as_u64().unwrap() * 4 < all[1]["size"].as_u64().unwrap(), "{all:?}");
    old.site.ok(&["verify"]);
    let partials = |old: &Old| {
        let directory = old.site.object(&growing).parent().unwrap().to_owned();
        snapshot(&directory)
            .iter()
            .filter(|(path, _)| path.to_string_lossy().contains(".partial."))
            .count()
    };
    assert_eq!(partials(&old), 1);
    let adopted = snapshot(&old.site.repository().join("main"));
    old.site.ok(&old.adopt());
    assert_eq!(adopted.len(), snapshot(&old.site.repository().join("main")).len());
    assert_eq!(old.backups(), all);
    assert_eq!(before, snapshot(&old.top), "an old file was changed");

    // The server goes on in the new archive: restores run from an old backup over the seam.
    old.site.ok(&["setup"]);
    // What the old command took before the archiver heard of the new one.
    old.site.ok(&old.adopt());
    old.insert(4);
    old.site.cluster.stop(Stop::Kill);
    old.assert_restores(None, "4");
    old.assert_restores(all[0]["id"].as_str(), "4");
}

#[test]
fn what_cannot_be_adopted_is_named_and_the_rest_is_adopted() {
    let old = old();
    old.insert(1);
    old.back_up("data.master");
    old.insert(2);
    old.site.ok(&["setup", "--repository-only"]);
    let complete = old.top.join("logs.complete");
    let some = fs::read_dir(&complete)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.len() == 24)
        .max()
        .unwrap();
    let bytes = fs::read(complete.join(&some)).unwrap();
    let mut foreign = bytes.clone();
    foreign[24] ^= 1;
    write_owned(&complete.join("0000000100000000000000F0"), &foreign);
    write_owned(&complete.join("0000000100000000000000F1"), &bytes);
    write_owned(&complete.join("0000000100000000000000F2"), &bytes[..1000]);
    write_owned(&complete.join("0000000100000000000000F3.gz"), &bytes);
    let copies =
        ["data.master.0", "data.master.1", "data.master.2", "data.master.3", "data.master.4"];
    for name in copies {
        copy(&old.top.join("data.master"), &old.top.join(name));
    }
    let label = old.top.join("data.master/backup_label");
    let text = fs::read_to_string(&label).unwrap();
    fs::remove_file(old.top.join("data.master.0/backup_label")).unwrap();
    let used = old.top.join("data.master.1");
    fs::rename(used.join("backup_label"), used.join("backup_label.old")).unwrap();
    let invented: String = text
        .lines()
        .filter(|line| !line.starts_with("BACKUP"))
        .map(|line| format!("{line}\n"))
        .collect();
    write_owned(&old.top.join("data.master.2/backup_label"), invented.as_bytes());
    let unfinished = text.replacen("0/", "7/", 1);
    write_owned(&old.top.join("data.master.3/backup_label"), unfinished.as_bytes());
    fs::remove_file(old.top.join("data.master.4/tablespace_map")).unwrap();
    write_owned(&old.top.join("data.master.4/backup_label"), text.as_bytes());
    let said = old.site.fails(5, &old.adopt());
    for expected in [
        "F0 is left out: segment",
        "F1 is left out:",
        "F2 is left out:",
        "F3.gz is left out: \"",
        "data.master.0 is left out: it has no backup_label",
        "data.master.1 is left out: a server was started from it",
        "data.master.2 is left out: its backup_label was made up",
        "data.master.3 is left out:",
        "data.master.4 is left out: nothing says where tablespace",
    ] {
        assert!(said.contains(expected), "{expected}:\n{said}");
    }
    assert_eq!(old.backups().len(), 1);
    for name in ["F0", "F1", "F2"] {
        assert!(!old.site.object(&format!("0000000100000000000000{name}")).exists(), "{name}");
    }
    // Other content under a name that was adopted.
    let mut other = bytes;
    other[600_000] ^= 1;
    write_owned(&complete.join(&some), &other);
    let said = old.site.fails(5, &old.adopt());
    assert!(said.contains(&format!("{some} is left out")), "{said}");
    old.site.ok(&["verify"]);
}
