//! Restoring some databases only: they are whole, the others hold nothing and can be dropped.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pgq_tests::Cluster;
use pgq_tests::site::{Site, archiving};

use crate::walmgr::backup::{started, target, verify_backup};

/// Bytes that a directory takes on the disk.
fn on_disk(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum()
}

fn oid(site: &Site, name: &str) -> String {
    let sql = format!("select oid from pg_database where datname = '{name}'");
    site.cluster.psql("postgres", &sql)
}

/// A cluster with databases "wanted" and "other \"one\"", both at work before and after a backup.
fn primary(cluster: Cluster) -> (Site, String) {
    let site = Site::new(cluster);
    site.ok(&["setup"]);
    let space = site.cluster.dir().join("space");
    assert!(site.cluster.run_as("mkdir").arg(&space).status().unwrap().success());
    let sql = format!("create tablespace elsewhere location '{}'", space.display());
    site.cluster.psql("postgres", &sql);
    let space = site.cluster.psql("postgres", "select max(oid) from pg_tablespace");
    for name in ["wanted", "other \"one\""] {
        let quoted = name.replace('"', "\"\"");
        site.cluster.psql("postgres", &format!("create database \"{quoted}\""));
        for sql in [
            "create table t as select g as n, repeat('x', 50) as x from generate_series(1, 20000) g",
            "create table far tablespace elsewhere as select * from t",
            "create index on t (n)",
        ] {
            site.cluster.psql(name, sql);
        }
    }
    site.ok(&["backup"]);
    for name in ["other \"one\"", "wanted"] {
        // The vacuum changes visibility of pages that nothing else has changed since.
        for sql in [
            "vacuum t",
            "update t set x = 'y' where n % 10 = 0",
            "checkpoint",
            "update far set x = 'z' where n % 7 = 0",
            "delete from t where n > 19000",
            "vacuum",
            "create table late as select * from t",
            "reindex table t",
        ] {
            site.cluster.psql(name, sql);
        }
    }
    site.cluster.psql("postgres", "create database later");
    site.cluster.psql("later", "create table t as select 5 as n");
    let other = "\"other \"\"one\"\"\"";
    for sql in ["rename to renamed", "is_template true", "allow_connections false"] {
        let name = if sql.starts_with("rename") { other } else { "renamed" };
        site.cluster.psql("postgres", &format!("alter database {name} {sql}"));
    }
    site.cluster.psql("postgres", &format!("create database {other}"));
    site.cluster.psql("other \"one\"", "create table t as select 6 as n");
    site.archive_all();
    (site, space)
}

fn count(site: &Site, database: &str) -> String {
    let sql = "select (select count(*) from t), (select count(*) from far where x = 'z'),
                      (select count(*) from late)";
    site.cluster.psql(database, sql)
}

fn only_one_is_restored(cluster: Cluster) {
    let (primary, space) = primary(cluster);
    let oid = oid(&primary, "renamed");
    let mut copy = target(&primary);
    let moved = copy.cluster.dir().join("moved").display().to_string();
    let map = format!("{space}={moved}");
    let said = copy.fails(1, &["restore", "--database", "nobody", "--tablespace-map", &map]);
    assert!(said.contains("nobody") && said.contains("wanted"), "{said}");
    copy.fails(2, &["restore", "--database", "wanted", "--standby"]);
    // Over a whole one, of which nothing may stay.
    copy.ok(&["restore", "--no-archive", "--tablespace-map", &map]);
    let data = copy.cluster.data_dir();
    let directory = data.join("base").join(&oid);
    let whole = on_disk(&directory);
    for option in ["--delta", "--force", "--delta"] {
        let args = ["restore", "--database", "wanted", option, "--tablespace-map", &map];
        let said = copy.ok(&args);
        assert!(said.contains(&format!("oid in ({oid}) \\gexec")), "{said}");
        fs::write(copy.cluster.dir().join("afterwards.sql"), &said).unwrap();
        verify_backup(&copy);
        let left = on_disk(&directory);
        assert!(left < whole / 20, "{left} bytes of {whole} are taken");
    }
    started(&mut copy);
    assert_eq!(count(&copy, "wanted"), count(&primary, "wanted"));
    assert_eq!(copy.cluster.psql("later", "select n from t"), "5", "all of it was in the WAL");
    assert_eq!(copy.cluster.psql("postgres", "show archive_mode"), "off");
    // What was printed drops the one that was left out, not the one that has its name now.
    let mut psql = copy.cluster.run_as(copy.cluster.tree().bin().join("psql"));
    psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &copy.cluster.conninfo("postgres")]);
    let output = psql.arg("-f").arg(copy.cluster.dir().join("afterwards.sql")).output().unwrap();
    let text = pgq_tests::site::said(&["psql"], &output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("{oid}|renamed|t|f")), "{text}");
    assert!(!directory.exists());
    assert_eq!(copy.cluster.psql("other \"one\"", "select n from t"), "6");
    let auto = fs::read_to_string(data.join("postgresql.auto.conf")).unwrap();
    assert!(!auto.contains("archive_mode") && !auto.contains("ignore_invalid_pages"), "{auto}");
    copy.cluster.psql("postgres", "checkpoint");
    copy.cluster.psql("wanted", "insert into t select 1");
    copy.cluster.psql("wanted", "vacuum full");
    copy.cluster.psql("postgres", "create database other template wanted");
    assert_eq!(count(&copy, "other"), count(&copy, "wanted"));
}

#[test]
fn one_database_is_restored_and_the_others_can_be_dropped() {
    only_one_is_restored(archiving().set("autovacuum", "off").start());
}

#[test]
fn the_same_without_page_checksums_where_pages_do_not_come_whole_in_the_wal() {
    let builder = Cluster::builder().initdb_arg("--wal-segsize=1").set("archive_mode", "on");
    only_one_is_restored(builder.set("autovacuum", "off").start());
}
