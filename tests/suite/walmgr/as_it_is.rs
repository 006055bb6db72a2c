//! The data directory as it is: links, tablespaces, names, permissions. What a backup cannot hold
//! makes it fail.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use pgq_tests::{Cluster, Stop};

use crate::walmgr::backup::{primary, started, target, verify_backup};
use pgq_tests::site::{Site, archiving, snapshot, write_owned};

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

/// A directory of the server's user.
fn make(cluster: &Cluster, path: &Path) {
    assert!(cluster.run_as("mkdir").arg("-p").arg(path).status().unwrap().success());
}

/// A primary with a table `far` in a tablespace; the tablespace's number.
fn with_tablespace(place: impl Fn(&Site) -> PathBuf) -> (Site, PathBuf, String) {
    let primary = primary();
    let space = place(&primary);
    make(&primary.cluster, &space);
    let sql = format!("create tablespace elsewhere location '{}'", space.display());
    primary.cluster.psql("postgres", &sql);
    primary.cluster.psql(
        "postgres",
        "create table far tablespace elsewhere as select g from generate_series(1, 5000) g",
    );
    let oid = "select oid from pg_tablespace where spcname = 'elsewhere'";
    let oid = primary.cluster.psql("postgres", oid);
    (primary, space, oid)
}

fn far(site: &Site) -> String {
    site.cluster.psql("postgres", "select count(*) from far")
}

#[test]
fn a_copy_that_is_refreshed_leaves_the_original_alone() {
    let (mut primary, space, oid) = with_tablespace(|site| site.cluster.dir().join("space"));
    primary.ok(&["backup"]);
    primary.archive_all();
    let mut copy = target(&primary);
    let moved = copy.cluster.dir().join("moved");
    let map = format!("{oid}={}", moved.display());
    copy.ok(&["restore", "--no-archive", "--tablespace-map", &map]);
    primary.cluster.psql("postgres", "create table since tablespace elsewhere as select 1 as n");
    primary.cluster.psql("postgres", "checkpoint");
    let link = copy.cluster.dir().join("link");
    symlink(&space, &link).unwrap();
    let at = |place: &Path| format!("{oid}={}", place.display());
    let (original, through) = (at(&space), at(&link));
    for running in [true, false] {
        if !running {
            primary.cluster.stop(Stop::Fast);
        }
        let before = (snapshot(&space), snapshot(&copy.cluster.data_dir()), snapshot(&moved));
        for option in ["--force", "--delta"] {
            // The map forgotten, or wrong.
            for more in [
                &[][..],
                &["--original-places"],
                &["--tablespace-map", &original],
                &["--tablespace-map", &through],
            ] {
                let mut args = vec!["restore", "--no-archive", option];
                args.extend(more);
                let said = copy.fails(2, &args);
                assert!(said.contains("tablespace"), "{said}");
                args.push("--dry-run");
                copy.fails(2, &args);
            }
        }
        let after = (snapshot(&space), snapshot(&copy.cluster.data_dir()), snapshot(&moved));
        assert_eq!(before, after, "running: {running}");
    }
    primary.cluster.start();
    assert_eq!(primary.cluster.psql("postgres", "select n from since"), "1");
    // With the right one all goes on, and what is broken off can be repeated in the same words.
    for option in ["--force", "--delta"] {
        for step in ["restore.prepared=kill", "restore.files=kill"] {
            let args = ["restore", "--no-archive", option, "--tablespace-map", &map];
            assert!(!copy.at_failpoint(step, &args).status.success());
        }
        copy.ok(&["restore", "--no-archive", option, "--tablespace-map", &map]);
        verify_backup(&copy);
    }
    started(&mut copy);
    assert_eq!(far(&copy), "5000");
    copy.cluster.stop(Stop::Fast);
    assert_eq!(primary.cluster.psql("postgres", "select n from since"), "1");
    // In place, the data directory's own links say where its tablespaces are; also when it broke
    // off.
    primary.cluster.stop(Stop::Fast);
    for option in ["--force", "--delta"] {
        for step in ["restore.prepared=kill", "restore.chunk=kill@3", "restore.files=kill"] {
            primary.at_failpoint(step, &["restore", "--no-archive", option]);
        }
        primary.ok(&["restore", "--no-archive", option]);
        assert_eq!(
            fs::read_link(primary.cluster.data_dir().join("pg_tblspc").join(&oid)).unwrap(),
            space
        );
        verify_backup(&primary);
    }
    started(&mut primary);
    assert_eq!(far(&primary), "5000");
}

#[test]
fn a_tablespace_inside_the_data_directory_is_stored_once_and_stays_inside() {
    let (mut primary, space, oid) = with_tablespace(|site| site.cluster.data_dir().join("in/side"));
    primary.ok(&["backup"]);
    let list: serde_json::Value =
        serde_json::from_str(&primary.ok(&["listbackups", "--json"])).unwrap();
    assert_eq!(list[0]["tablespaces"][&oid], "in/side", "{list}");
    primary.cluster.psql("postgres", "checkpoint");
    let before = snapshot(&space);
    let mut copy = target(&primary);
    copy.ok(&["restore", "--no-archive"]);
    for option in ["--delta", "--force", "--delta"] {
        copy.ok(&["restore", "--no-archive", option]);
        started(&mut copy);
        assert_eq!(far(&copy), "5000", "{option}");
        let place =
            "select pg_tablespace_location(oid) from pg_tablespace where spcname = 'elsewhere'";
        let place = copy.cluster.psql("postgres", place);
        assert_eq!(Path::new(&place), copy.cluster.data_dir().join("in/side"));
        copy.cluster.stop(Stop::Fast);
    }
    assert_eq!(before, snapshot(&space), "the original's was touched");
    primary.cluster.stop(Stop::Fast);
    primary.ok(&["restore", "--no-archive", "--force"]);
    started(&mut primary);
    assert_eq!(far(&primary), "5000");
}

#[test]
fn what_links_lead_to_is_saved_and_links_stay_links() {
    let mut primary = primary();
    primary.cluster.psql("postgres", "create database d");
    let oid = primary.cluster.psql("postgres", "select oid from pg_database where datname = 'd'");
    primary.cluster.psql("d", "create table here as select 7 as n");
    primary.cluster.stop(Stop::Fast);
    let data = primary.cluster.data_dir();
    let disk = primary.cluster.dir().join("disk");
    make(&primary.cluster, &disk);
    // Moved to another disk: a database, the WAL, a directory of the site.
    write_owned(&data.join("site.conf"), b"# of the site\n");
    for (name, to) in [(format!("base/{oid}"), "d"), ("pg_wal".to_owned(), "wal")] {
        let place = disk.join(to);
        fs::rename(data.join(&name), &place).unwrap();
        symlink(&place, data.join(&name)).unwrap();
    }
    make(&primary.cluster, &disk.join("log"));
    write_owned(&disk.join("log/old"), b"a line\n");
    symlink(disk.join("log"), data.join("log")).unwrap();
    // A link behind a link.
    make(&primary.cluster, &disk.join("older"));
    write_owned(&disk.join("older/line"), b"older\n");
    symlink(disk.join("older"), disk.join("log/older")).unwrap();
    // Links within, to a file outside, and to nothing.
    symlink(data.join("site.conf"), data.join("inner")).unwrap();
    write_owned(&disk.join("key"), b"secret");
    symlink(disk.join("key"), data.join("server.key")).unwrap();
    symlink(disk.join("nothing"), data.join("dangling")).unwrap();
    primary.cluster.start();
    let output = primary.command(&["backup"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("WARNING"), "{output:?}");
    primary.ok(&["verify"]);
    primary.archive_all();

    // Elsewhere: nothing says that those places are this copy's, so all is inside.
    let before = snapshot(&disk.join("d"));
    let mut copy = target(&primary);
    copy.ok(&["restore", "--no-archive"]);
    verify_backup(&copy);
    let there = copy.cluster.data_dir();
    for name in [&format!("base/{oid}"), "pg_wal", "log", "server.key"] {
        assert!(!there.join(name).is_symlink(), "{name}");
    }
    assert_eq!(fs::read(there.join("log/old")).unwrap(), b"a line\n");
    assert_eq!(fs::read(there.join("log/older/line")).unwrap(), b"older\n");
    assert_eq!(fs::read(there.join("server.key")).unwrap(), b"secret");
    assert_eq!(fs::read_link(there.join("inner")).unwrap(), Path::new("site.conf"));
    assert!(!there.join("dangling").is_symlink());
    started(&mut copy);
    assert_eq!(copy.cluster.psql("d", "select n from here"), "7");
    copy.cluster.stop(Stop::Fast);
    assert_eq!(before, snapshot(&disk.join("d")));

    // In place they stay what they are, and what they lead to is restored; what is outside of
    // directories is left alone.
    primary.cluster.psql("d", "drop table here");
    primary.cluster.stop(Stop::Fast);
    write_owned(&disk.join("key"), b"newer");
    for option in ["--delta", "--force"] {
        write_owned(&disk.join("log/stray"), b"x");
        primary.ok(&["restore", "--no-archive", "--immediate", option]);
        for (name, to) in [(format!("base/{oid}").as_str(), "d"), ("pg_wal", "wal"), ("log", "log")]
        {
            assert_eq!(fs::read_link(data.join(name)).unwrap(), disk.join(to), "{option}");
        }
        assert_eq!(fs::read_link(data.join("server.key")).unwrap(), disk.join("key"));
        assert_eq!(fs::read(disk.join("key")).unwrap(), b"newer");
        assert!(!disk.join("log/stray").exists(), "{option}");
        assert_eq!(fs::read_link(disk.join("log/older")).unwrap(), disk.join("older"), "{option}");
        assert_eq!(fs::read(data.join("log/older/line")).unwrap(), b"older\n", "{option}");
        started(&mut primary);
        assert_eq!(primary.cluster.psql("d", "select n from here"), "7", "{option}");
        primary.cluster.stop(Stop::Fast);
    }
    // The machine is gone, and another one is to be as it was.
    fs::remove_dir_all(&data).unwrap();
    for name in ["d", "wal", "log", "older"] {
        fs::remove_dir_all(disk.join(name)).unwrap();
    }
    primary.ok(&["restore", "--no-archive", "--immediate", "--original-places"]);
    for (name, to) in [(format!("base/{oid}").as_str(), "d"), ("pg_wal", "wal"), ("log", "log")] {
        assert_eq!(fs::read_link(data.join(name)).unwrap(), disk.join(to));
    }
    assert_eq!(fs::read_link(data.join("dangling")).unwrap(), disk.join("nothing"));
    started(&mut primary);
    assert_eq!(primary.cluster.psql("d", "select n from here"), "7");
}

#[test]
fn links_and_tablespaces_go_where_the_operator_says() {
    let (mut primary, _, oid) = with_tablespace(|site| site.cluster.dir().join("space"));
    primary.cluster.psql("postgres", "create database d");
    let database = primary.cluster.psql("postgres", "select max(oid) from pg_database");
    primary.cluster.psql("d", "create table here as select 7 as n");
    primary.cluster.stop(Stop::Fast);
    let data = primary.cluster.data_dir();
    let disk = primary.cluster.dir().join("disk");
    make(&primary.cluster, &disk);
    let base = format!("base/{database}");
    fs::rename(data.join(&base), disk.join("d")).unwrap();
    symlink(disk.join("d"), data.join(&base)).unwrap();
    write_owned(&disk.join("key"), b"secret");
    symlink(disk.join("key"), data.join("server.key")).unwrap();
    primary.cluster.start();
    primary.ok(&["backup"]);
    primary.archive_all();
    primary.cluster.psql("postgres", "checkpoint");
    let before = snapshot(&disk);

    let mut copy = target(&primary);
    let there = copy.cluster.data_dir();
    let far = copy.cluster.dir().join("far");
    make(&copy.cluster, &far);
    let at = |link: &str, place: &str| format!("{link}={}", far.join(place).display());
    let (all, wal, link) = (far.join("spaces"), at("pg_wal", "wal"), at(&base, "d"));
    let all = all.display().to_string();
    let args = |maps: &[&str]| {
        let mut args = vec!["restore".to_owned(), "--no-archive".to_owned()];
        args.extend(["--tablespace-map-all".to_owned(), all.clone()]);
        args.extend(maps.iter().flat_map(|map| ["--link-map".to_owned(), (*map).to_owned()]));
        args
    };
    // Not a link, a link to a file, not absolute, one place twice, inside of the data directory.
    let inside = format!("pg_wal={}/wal", there.display());
    let key = at("server.key", "k");
    for wrong in [
        &[at("global", "g").as_str()][..],
        &[&key],
        &["pg_wal=wal"],
        &["pg_wal"],
        &[&wal, &at(&base, "wal")],
        &[&wal, &at(&base, "wal/deeper")],
        &[&at(&base, "spaces")],
        &[&inside],
        &[&at("../x", "x")],
    ] {
        copy.fails(2, &args(wrong));
        assert!(!there.exists(), "{wrong:?}");
    }
    write_owned(&far.join("mine"), b"x");
    let said = copy.fails(2, &args(&[&at("pg_wal", "")]));
    assert!(said.contains("not empty"), "{said}");

    let args = args(&[&wal, &link]);
    assert!(!copy.at_failpoint("restore.prepared=kill", &args).status.success());
    for option in ["--delta", "--force", "--delta"] {
        let mut args = args.clone();
        args.push(option.to_owned());
        copy.ok(&args);
        verify_backup(&copy);
        assert_eq!(fs::read_link(there.join("pg_wal")).unwrap(), far.join("wal"));
        assert_eq!(fs::read_link(there.join(&base)).unwrap(), far.join("d"));
        let space = fs::read_link(there.join("pg_tblspc").join(&oid)).unwrap();
        assert_eq!(space, far.join("spaces").join(&oid));
        started(&mut copy);
        assert_eq!(copy.cluster.psql("d", "select n from here"), "7");
        assert_eq!(self::far(&copy), "5000");
        assert!(far.join("wal/archive_status").exists());
        copy.cluster.stop(Stop::Fast);
    }
    // In other words it is somebody else's, or something else.
    let moved = [at("pg_wal", "wal2"), at(&base, "wal")];
    let mut args = args[..4].to_vec();
    args.extend(moved.iter().flat_map(|map| ["--link-map".to_owned(), map.clone()]));
    args.push("--delta".to_owned());
    let said = copy.fails(2, &args);
    assert!(said.contains("not empty"), "{said}");
    assert_eq!(before, snapshot(&disk), "the original's was touched");
    assert_eq!(fs::read(far.join("mine")).unwrap(), b"x");
}

#[test]
fn names_and_values_of_any_bytes_come_back() {
    let mut primary = primary();
    primary.cluster.stop(Stop::Fast);
    let data = primary.cluster.data_dir();
    let odd = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let directory = odd(b"d\xfc\xff");
    make(&primary.cluster, &data.join(&directory));
    let names = [
        odd(b"caf\xe9"),
        directory.join(odd(b"\xff\xfe")),
        odd(b"@hex"),
        odd(b"@x\xff"),
        odd(b"a\nb \"quoted\" \\ \xc3\xbc"),
    ];
    for (number, name) in names.iter().enumerate() {
        write_owned(&data.join(name), format!("content {number}").as_bytes());
    }
    // In the place that configuration files from elsewhere have in a backup.
    make(&primary.cluster, &data.join("@config"));
    write_owned(&data.join("@config/x"), b"not configuration");
    let auto = data.join("postgresql.auto.conf");
    let mut text = fs::read(&auto).unwrap();
    text.extend(b"site.motto = 'caf\xe9'\n");
    write_owned(&auto, &text);
    primary.cluster.start();
    primary.ok(&["backup"]);
    primary.ok(&["backup", "--incremental"]);
    primary.ok(&["verify"]);
    primary.archive_all();
    let mut copy = target(&primary);
    copy.ok(&["restore", "--no-archive"]);
    let there = copy.cluster.data_dir();
    for option in ["--delta", "--force"] {
        verify_backup(&copy);
        for (number, name) in names.iter().enumerate() {
            let bytes = fs::read(there.join(name)).unwrap();
            assert_eq!(bytes, format!("content {number}").as_bytes(), "{}", name.display());
        }
        assert_eq!(fs::read(there.join("@config/x")).unwrap(), b"not configuration");
        let auto = fs::read(there.join("postgresql.auto.conf")).unwrap();
        assert!(auto.windows(4).any(|four| four == b"caf\xe9"));
        // A stranger of such a name goes.
        write_owned(&there.join(odd(b"stray\xff")), b"x");
        copy.ok(&["restore", "--no-archive", option]);
        assert!(!there.join(odd(b"stray\xff")).exists(), "{option}");
    }
    started(&mut copy);
    assert_eq!(copy.cluster.psql("postgres", "select count(*) from filler"), "20000");
}

#[test]
fn permissions_come_back() {
    let mut primary = Site::new(archiving().initdb_arg("-g").start());
    primary.ok(&["setup"]);
    let data = primary.cluster.data_dir();
    assert_eq!(mode(&data), 0o750);
    write_owned(&data.join("server.key"), b"x");
    fs::set_permissions(data.join("server.key"), fs::Permissions::from_mode(0o400)).unwrap();
    write_owned(&data.join("run.sh"), b"#!/bin/sh\n");
    fs::set_permissions(data.join("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    primary.ok(&["backup"]);
    primary.archive_all();
    primary.cluster.stop(Stop::Fast);
    let mut copy = target(&primary);
    let mut shell = copy.cluster.run_as("sh");
    shell.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(copy.cluster.dir().join("walmgr"));
    shell.arg("--config").arg(copy.config()).args(["restore", "--no-archive"]);
    assert!(shell.status().unwrap().success());
    let there = copy.cluster.data_dir();
    for option in ["--delta", "--force"] {
        assert_eq!(mode(&there), 0o750);
        for (path, _) in snapshot(&there) {
            let before = data.join(path.strip_prefix(&there).unwrap());
            let new = ["backup_label", "backup_manifest", "recovery.signal"];
            let expected = match before.symlink_metadata() {
                Ok(_) => mode(&before),
                Err(_) => 0o640,
            };
            let known = before.exists() || new.iter().any(|name| path.ends_with(name));
            assert!(known, "{}", path.display());
            assert_eq!(mode(&path), expected, "{}", path.display());
        }
        copy.ok(&["restore", "--no-archive", option]);
    }
    started(&mut copy);
    assert_eq!(mode(&there.join("server.key")), 0o400);
    // And where others may read nothing, they still may not.
    let private = self::primary();
    private.ok(&["backup"]);
    let copy = target(&private);
    copy.ok(&["restore"]);
    assert_eq!(mode(&copy.cluster.data_dir()), 0o700);
    for (path, _) in snapshot(&copy.cluster.data_dir()) {
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn what_cannot_be_held_makes_a_backup_fail() {
    let primary = primary();
    let data = primary.cluster.data_dir();
    let run = |program: &str, args: &[&Path]| {
        assert!(primary.cluster.run_as(program).args(args).status().unwrap().success());
    };
    let pipe = data.join("pipe");
    run("mkfifo", &[&pipe]);
    let said = primary.fails(1, &["backup"]);
    assert!(said.contains("neither file nor directory"), "{said}");
    fs::remove_file(&pipe).unwrap();
    for target in [data.clone(), data.join("base/..")] {
        let back = data.join("back");
        symlink(&target, &back).unwrap();
        let said = primary.fails(1, &["backup"]);
        assert!(said.contains("leads back"), "{said}");
        fs::remove_file(&back).unwrap();
    }
    // A tablespace whose disk is not there.
    let lost = data.join("pg_tblspc/16999");
    symlink("/nonexistent/space", &lost).unwrap();
    let said = primary.fails(1, &["backup"]);
    assert!(said.contains("leads nowhere"), "{said}");
    fs::remove_file(&lost).unwrap();
    // What holds nothing keeps nobody from a backup.
    let _socket = std::os::unix::net::UnixListener::bind(data.join(".s.PGSQL.5432")).unwrap();
    primary.ok(&["backup"]);
    primary.ok(&["verify"]);
}

#[test]
fn shifted_data_is_found_whatever_its_pages_claim() {
    let mut primary = primary();
    let file = primary.cluster.psql("postgres", "select pg_relation_filepath('filler')");
    primary.ok(&["backup"]);
    primary.cluster.stop(Stop::Fast);
    let path = primary.cluster.data_dir().join(&file);
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 8192;
    for shift in [1, 10, 100, 4096] {
        let mut shifted = vec![0x5A; shift];
        shifted.extend(&whole[..whole.len() - shift]);
        write_owned(&path, &shifted);
        primary.cluster.start();
        let said = primary.fails(6, &["backup"]);
        let list: serde_json::Value =
            serde_json::from_str(&primary.ok(&["listbackups", "--json"])).unwrap();
        let damaged = list.as_array().unwrap().last().unwrap()["damaged_pages"].as_array().unwrap();
        // The last page may be new and empty.
        assert!(damaged.len() >= pages - 1, "{shift}: {} of {pages}: {said}", damaged.len());
        primary.cluster.stop(Stop::Fast);
    }
    // A position that no WAL reaches, on a page that is otherwise whole.
    let mut claimed = whole.clone();
    claimed[2 * 8192..2 * 8192 + 8].fill(0xFF);
    write_owned(&path, &claimed);
    primary.cluster.start();
    let said = primary.fails(6, &["backup"]);
    assert!(said.contains(&format!("{file}:2")), "{said}");
    primary.cluster.stop(Stop::Fast);
    write_owned(&path, &whole);
    primary.cluster.start();
    primary.ok(&["backup"]);
}
