//! archive-push and archive-get as commands: what comes in, what is refused, and what survives.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use pgq_tests::Cluster;

use pgq_tests::site::{Site, alone, archiving, said, snapshot, write_owned, write_program};

/// A site whose server has run and is stopped, with one whole segment set aside for pushing.
struct Pushable {
    site: Site,
    name: String,
    path: PathBuf,
}

fn pushable() -> Pushable {
    pushable_in(Site::new)
}

fn pushable_in(site: fn(Cluster) -> Site) -> Pushable {
    let cluster = archiving().set("archive_command", "false").start();
    let name = cluster.psql(
        "postgres",
        "create table t as select 1; select pg_walfile_name(pg_current_wal_lsn())",
    );
    cluster.psql("postgres", "select pg_switch_wal()");
    let site_path = cluster.data_dir().join("pg_wal").join(&name);
    let bytes = fs::read(&site_path).unwrap();
    let mut site = site(cluster);
    site.ok(&["setup", "--repository-only"]);
    let path = site.cluster.dir().join("segment");
    write_owned(&path, &bytes);
    site.cluster.stop(pgq_tests::Stop::Fast);
    Pushable { site, name, path }
}

impl Pushable {
    fn push_args(&self) -> [&str; 3] {
        ["archive-push", self.path.to_str().unwrap(), &self.name]
    }

    fn fetched(&self) -> PathBuf {
        self.site.cluster.dir().join("fetched")
    }

    fn get_args(&self) -> [String; 3] {
        ["archive-get".into(), self.name.clone(), self.fetched().display().to_string()]
    }

    /// The archive delivers exactly the bytes that were pushed.
    fn assert_readable(&self) {
        let _ = fs::remove_file(self.fetched());
        self.site.ok(&self.get_args());
        assert!(fs::read(self.fetched()).unwrap() == fs::read(&self.path).unwrap());
    }

    /// A changed copy of the segment.
    fn variant(&self, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = fs::read(&self.path).unwrap();
        change(&mut bytes);
        let path = self.site.cluster.dir().join("variant");
        write_owned(&path, &bytes);
        path.display().to_string()
    }
}

#[test]
fn setup_wires_a_server_and_proves_it() {
    let cluster = archiving().start();
    let site = Site::new(cluster);
    let before = snapshot(&site.cluster.data_dir().join("global"));
    let plan = site.ok(&["setup", "--dry-run"]);
    assert!(plan.contains("alter system set archive_command"), "{plan}");
    assert!(!site.repository().exists(), "a dry run created the repository");
    assert_eq!(before.len(), snapshot(&site.cluster.data_dir().join("global")).len());
    assert_eq!(site.cluster.psql("postgres", "show archive_command"), "");

    site.ok(&["setup"]);
    assert_eq!(site.segments("00000001").len(), 1);
    site.ok(&["setup"]);
    assert_eq!(site.segments("00000001").len(), 2);
    let archived = site.cluster.psql("postgres", "select failed_count from pg_stat_archiver");
    assert_eq!(archived, "0");
}

#[test]
fn setup_makes_no_repository_where_one_is_not_mounted() {
    let site = Site::single(archiving().start());
    site.ok(&["setup"]);
    site.archive_all();
    // As after a crash, when a disk is away most likely.
    site.cluster.psql("postgres", "select pg_stat_reset_shared('archiver')");
    let away = site.cluster.dir().join("away");
    fs::rename(site.repository(), &away).unwrap();
    for is_mount_point in [false, true] {
        if is_mount_point {
            assert!(
                site.cluster.run_as("mkdir").arg(site.repository()).status().unwrap().success()
            );
        }
        for args in [&["setup"][..], &["setup", "--repository-only"], &["setup", "--library"]] {
            let said = site.fails(4, args);
            assert!(said.contains("mount it") && said.contains("--repo main setup"), "{said}");
        }
        assert_eq!(site.repository().exists(), is_mount_point);
    }
    assert_eq!(fs::read_dir(site.repository()).unwrap().count(), 0);
    // Whoever says so gets a new one.
    site.ok(&["--repo", "main", "setup"]);
    assert_eq!(site.segments("00000001").len(), 1);
}

#[test]
fn a_repository_serves_one_cluster_per_stanza() {
    let one = Site::new(archiving().start());
    one.ok(&["setup", "--repository-only"]);
    let two = Site::beside(archiving().start(), one.repository());
    two.fails(5, &["setup", "--repository-only"]);
    // And a server that is misconfigured later on is refused by its control file, even for names
    // without a system identifier.
    let history = two.cluster.dir().join("00000002.history");
    write_owned(&history, b"1\t0/3000000\tx\n");
    two.fails(5, &["archive-push", history.to_str().unwrap()]);
    two.fails(200, &["archive-get", "00000002.history", "../fetched"]);
}

#[test]
fn a_name_keeps_its_content_for_ever() {
    let p = pushable();
    let stored = p.site.object(&p.name);
    p.site.ok(&p.push_args());
    let first = fs::read(&stored).unwrap();
    p.site.ok(&p.push_args());
    let other = p.variant(|bytes| bytes[600_000] ^= 1);
    let text = p.site.fails(5, &["archive-push", &other, &p.name]);
    assert!(text.contains("there ") && text.contains("here "), "{text}");
    assert!(fs::read(&stored).unwrap() == first, "the stored object changed");
    p.assert_readable();

    for (content, code) in
        [("1\t0/300000\ta\n", 0), ("1\t0/300000\ta\n", 0), ("1\t0/400000\ta\n", 5)]
    {
        let history = p.site.cluster.dir().join("00000002.history");
        write_owned(&history, content.as_bytes());
        let output = p.site.command(&["archive-push", history.to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{content}");
    }
    // The unfinished end of a timeline may differ between servers: both are kept, and neither is
    // ever taken for a segment.
    let partial = format!("{}.partial", p.name);
    p.site.ok(&["archive-push", p.path.to_str().unwrap(), &partial]);
    p.site.ok(&["archive-push", &other, &partial]);
    let directory = stored.parent().unwrap();
    let kept = fs::read_dir(directory).unwrap().count();
    assert_eq!(kept, 3, "a segment and two partials");
    p.site.absent(&["archive-get", &partial, "../fetched"]);
}

#[test]
fn what_is_not_this_clusters_wal_is_refused() {
    let p = pushable();
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change, i32); 7] = [
        ("another system", |bytes| bytes[24] ^= 1, 5),
        ("another place", |bytes| bytes[10] ^= 0x10, 6),
        ("a later timeline", |bytes| bytes[4] = 9, 6),
        ("another magic", |bytes| bytes[0] = 0, 6),
        ("cut short", |bytes| bytes.truncate(500_000), 6),
        ("too long", |bytes| bytes.push(0), 6),
        ("empty", |bytes| bytes.clear(), 6),
    ];
    for (what, change, code) in changes {
        let path = p.variant(change);
        let output = p.site.command(&["archive-push", &path, &p.name]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{what}: {}", said(&[&path], &output));
        assert!(!p.site.object(&p.name).exists(), "{what} was stored");
    }
    let path = p.path.to_str().unwrap();
    p.site.fails(2, &["archive-push", path, "0000000100000000000000ff"]);
    p.site.fails(2, &["archive-push", path, "../../../etc/passwd"]);
    p.site.fails(6, &["archive-push", path, "00000002.history"]);
    p.site.fails(8, &["archive-push", "pg_wal/no_such_file", &p.name]);
    p.site.fails(2, &["archive-push"]);
}

#[test]
fn a_push_killed_anywhere_can_be_repeated() {
    let p = pushable();
    for step in ["opened", "written", "synced", "renamed", "durable"] {
        let output = p.site.at_failpoint(&format!("store.{step}=kill"), &p.push_args());
        assert_eq!(output.status.signal(), Some(9), "{step}: {}", said(&p.push_args(), &output));
        // Whatever it left, the archive tells nothing untrue: the whole segment, or no segment.
        let got = p.site.command(&alone(&p.get_args())).output().unwrap();
        let expected = if matches!(step, "renamed" | "durable") { 0 } else { 1 };
        assert_eq!(got.status.code(), Some(expected), "{step}: {}", said(&p.get_args(), &got));
        p.site.ok(&p.push_args());
        p.assert_readable();
        fs::remove_dir_all(p.site.object(&p.name).parent().unwrap()).unwrap();
    }
}

#[test]
fn a_push_that_cannot_write_says_so_and_leaves_nothing() {
    let p = pushable();
    let object = p.site.object(&p.name);
    for failpoint in ["store.opened=enospc", "store.written=enospc", "store.synced=eio"] {
        let output = p.site.at_failpoint(failpoint, &p.push_args());
        assert_eq!(output.status.code(), Some(4), "{failpoint}");
        assert!(!object.exists());
        assert_eq!(fs::read_dir(object.parent().unwrap()).unwrap().count(), 0, "{failpoint}");
    }
    // A real short write: the file size limit ends it in the middle. No compression, so that it is
    // sure to be reached.
    p.site.configure("repository.compression = 'none'");
    let mut shell = p.site.cluster.run_as("bash");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "bash"]);
    shell.arg(p.site.cluster.dir().join("walmgr")).args(p.site.arguments(&p.push_args()));
    shell.current_dir(p.site.cluster.data_dir());
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", said(&p.push_args(), &output));
    assert!(!object.exists());

    let directory = object.parent().unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o500)).unwrap();
    p.site.fails(4, &p.push_args());
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();

    let away = p.site.cluster.dir().join("away");
    fs::rename(p.site.repository(), &away).unwrap();
    p.site.fails(4, &p.push_args());
    fs::create_dir(p.site.repository()).unwrap(); // the mount point of a disk that is not mounted
    p.site.fails(4, &p.push_args());
    p.site.fails(200, &p.get_args());
    fs::remove_dir(p.site.repository()).unwrap();
    fs::rename(&away, p.site.repository()).unwrap();

    p.site.ok(&p.push_args());
    p.assert_readable();
}

#[test]
fn a_damaged_object_is_never_delivered_and_is_healed_by_the_next_push() {
    let p = pushable();
    let object = p.site.object(&p.name);
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 4] = [
        |bytes| bytes.clear(),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
        },
        |bytes| bytes[40] ^= 1,
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        p.site.ok(&p.push_args());
        let mut bytes = fs::read(&object).unwrap();
        damage(&mut bytes);
        write_owned(&object, &bytes);
        p.site.fails(200, &alone(&p.get_args()));
        p.site.ok(&p.push_args());
        p.assert_readable();
        assert!(object.with_extension(format!("damaged{number}")).exists());
    }
}

#[test]
fn of_two_pushers_at_once_one_wins() {
    let p = pushable();
    let other = p.variant(|bytes| bytes[700_000] ^= 1);
    let mut running = Vec::new();
    for number in 0..8 {
        let path = if number % 2 == 0 { p.path.to_str().unwrap() } else { &other };
        let mut command = p.site.command(&["archive-push", path, &p.name]);
        running.push(command.stderr(Stdio::null()).spawn().unwrap());
    }
    let codes: Vec<_> = running.iter_mut().map(|child| child.wait().unwrap().code()).collect();
    let (even, odd): (Vec<_>, Vec<_>) = codes.iter().enumerate().partition(|(at, _)| at % 2 == 0);
    let all = |side: &[(usize, &Option<i32>)], code| side.iter().all(|(_, c)| **c == Some(code));
    assert!(
        all(&even, 0) && all(&odd, 5) || all(&even, 5) && all(&odd, 0),
        "one content wins everywhere: {codes:?}"
    );
}

#[test]
fn every_compression_and_the_old_names_work() {
    // INI files of walmgr3 know of no encryption.
    let p = pushable_in(Site::plain);
    for codec in ["none", "lz4", "zstd"] {
        p.site.configure(&format!("repository.compression = '{codec}'"));
        p.site.ok(&["xarchive", p.path.to_str().unwrap(), &p.name]);
        p.site.ok(&["xrestore", &p.name, "../fetched", "000000010000000000000000"]);
        p.assert_readable();
        fs::remove_file(p.site.object(&p.name)).unwrap();
    }
    // An INI file of walmgr3, in its order on the command line.
    let ini = p.site.cluster.dir().join("wal-main.ini");
    let text = format!(
        "[walmgr]\njob_name = main\nwalmgr_data = {0}/ini\nmaster_data = {0}/data\n",
        p.site.cluster.dir().display()
    );
    fs::write(&ini, text).unwrap();
    let moved = p.site.cluster.dir().join("ini");
    fs::create_dir(&moved).unwrap();
    fs::rename(p.site.repository(), moved.join("repository")).unwrap();
    let mut old = p.site.cluster.run_as(p.site.cluster.dir().join("walmgr"));
    old.arg(&ini).arg("xarchive").arg(&p.path).arg(&p.name);
    assert!(old.current_dir(p.site.cluster.data_dir()).status().unwrap().success());
}

#[test]
fn a_restore_command_never_says_absent_by_mistake() {
    let p = pushable();
    p.site.ok(&p.push_args());
    let absent = "0000000100000000000000F0";
    p.site.absent(&["archive-get", absent, "../fetched"]);
    p.site.absent(&["archive-get", "00000009.history", "../fetched"]);
    // Not a question about the archive at all.
    p.site.fails(200, &["archive-get", "RECOVERYXLOG", "../fetched"]);
    p.site.fails(200, &["archive-get", absent]);
    p.site.fails(200, &["archive-get", absent, "../fetched", "--no-such-option"]);
    p.site.fails(200, &["archive-get", &p.name, "../no_such_directory/fetched"]);
    // All before it may have been expired under a server that still recovers.
    let before = "000000010000000000000000";
    p.site.fails(200, &["archive-get", before, "../fetched"]);
    p.site.absent(&["archive-get", before, "../fetched", "--allow-hole"]);
    // The first segments of a timeline, which left the other one in segment F2; before that it has
    // none.
    let history = p.site.cluster.dir().join("00000002.history");
    write_owned(&history, b"1\t0/F200028\tx\n");
    p.site.ok(&["archive-push", history.to_str().unwrap()]);
    let later = p.site.object("0000000200000000000000F5");
    fs::create_dir_all(later.parent().unwrap()).unwrap();
    fs::write(later, b"x").unwrap();
    let of_second = |segment: &str| format!("0000000200000000000000{segment}");
    for segment in ["F2", "F4"] {
        p.site.fails(200, &["archive-get", &of_second(segment), "../fetched"]);
    }
    for segment in ["F1", "F6"] {
        p.site.absent(&["archive-get", &of_second(segment), "../fetched"]);
    }
    // A fault of walmgr's own says nothing about the archive.
    let panicked = || {
        let output =
            p.site.at_failpoint("get.attempt=panic", &["archive-get", absent, "../fetched"]);
        output.status.code()
    };
    assert_eq!(panicked(), Some(200));
    let config = fs::read(p.site.config()).unwrap();
    fs::write(p.site.config(), "nonsense = [").unwrap();
    p.site.fails(200, &["archive-get", absent, "../fetched"]);
    fs::write(p.site.config(), config).unwrap();
    fs::remove_file(p.site.repository().join("main/wal/README")).unwrap();
    p.site.fails(200, &["archive-get", absent, "../fetched"]);

    // A standby asks again by itself, and would stop on 200.
    write_owned(&p.site.cluster.data_dir().join("standby.signal"), b"");
    write_owned(&p.site.cluster.data_dir().join("recovery.signal"), b"");
    p.site.fails(1, &["archive-get", absent, "../fetched"]);
    assert_eq!(panicked(), Some(1));
}

#[test]
fn the_server_archives_through_walmgr_and_keeps_what_was_refused() {
    let site = Site::new(archiving().set("archive_timeout", 0).start());
    site.ok(&["setup"]);
    let away = site.cluster.dir().join("away");
    fs::rename(site.repository(), &away).unwrap();
    let name = site.cluster.psql(
        "postgres",
        "select pg_walfile_name(pg_switch_wal()) from pg_create_restore_point('x')",
    );
    let failed =
        pgq_tests::wait_until(std::time::Duration::from_secs(180), || failures(&site.cluster) >= 1);
    assert!(failed, "{}", site.cluster.log());
    assert!(site.cluster.data_dir().join("pg_wal").join(&name).exists());
    fs::rename(&away, site.repository()).unwrap();
    site.archive_all();
    assert!(site.object(&name).exists());
}

fn failures(cluster: &Cluster) -> i64 {
    let mut client = cluster.connect("postgres");
    client.query_one("select failed_count from pg_stat_archiver", &[]).unwrap().get(0)
}

/// The archiver hears of new settings a moment after setup has set them: what the command before
/// took meanwhile was archived, and is not in the repository.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn a_segment_that_the_command_before_took_fails_no_setup() {
    let site = Site::new(archiving().set("archive_command", "false").start());
    let program = site.archive_program();
    let (real, taken) = (program.with_file_name("walmgr"), program.with_extension("taken"));
    fs::remove_file(&program).unwrap();
    let script = format!(
        "#!/bin/sh\n[ -e {taken} ] || {{ echo \"$4\" >{taken}; exit 0; }}\nexec {real} \"$@\"\n",
        taken = taken.display(),
        real = real.display()
    );
    write_program(&program, script.as_bytes());
    let output = site.command(&["setup"]).output().unwrap();
    let text = said(&["setup"], &output);
    assert!(output.status.success() && text.contains("another one is sent"), "{text}");
    let taken = fs::read_to_string(&taken).unwrap();
    let name = taken.trim().rsplit('/').next().unwrap();
    assert!(!site.segments("00000001").contains(&name.to_owned()), "it was to be lost: {name}");
}
