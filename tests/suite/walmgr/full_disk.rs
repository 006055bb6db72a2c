//! A file system that is really full: nothing is acknowledged, nothing is half there, and
//! everything goes on once there is space.
//!
//! A small tmpfs where it can be mounted (root); elsewhere the limit on the size of a file, which
//! makes writes fail in the middle too.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pgq_tests::{Cluster, PATIENCE, Tree, wait_until};

use pgq_tests::site::{Site, archiving, said, snapshot};

const SIZE: u64 = 256 << 20;

/// A place whose space runs out on demand.
struct Small {
    directory: PathBuf,
    mounted: bool,
    /// Without a mount: the largest file in KiB.
    limit: Cell<Option<u64>>,
}

impl Small {
    fn below(directory: &Path) -> Self {
        let directory = directory.join("small");
        fs::create_dir(&directory).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={SIZE},mode=1777"), "tmpfs"]);
        let mounted = mount.arg(&directory).output().is_ok_and(|output| output.status.success());
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777)).unwrap();
        Self { directory, mounted, limit: Cell::new(None) }
    }

    /// Leave this much.
    fn leave(&self, kilobytes: u64) {
        self.limit.set(Some(kilobytes));
        if self.mounted {
            let mut df = Command::new("df");
            let output =
                df.args(["--output=avail", "-B1024"]).arg(&self.directory).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let free: u64 = text.lines().nth(1).unwrap().trim().parse().unwrap();
            let mut fill = Command::new("fallocate");
            fill.args(["-l", &format!("{}KiB", free - kilobytes)]);
            assert!(fill.arg(self.ballast()).status().unwrap().success());
        }
    }

    fn free(&self) {
        self.limit.set(None);
        if self.mounted {
            fs::remove_file(self.ballast()).unwrap();
        }
    }

    fn ballast(&self) -> PathBuf {
        self.directory.join("ballast")
    }

    /// walmgr, which finds as much space as there is now.
    fn command(&self, site: &Site, args: &[&str]) -> Command {
        let command = site.command(args);
        let Some(limit) = self.limit.get().filter(|_| !self.mounted) else { return command };
        let mut shell = site.cluster.run_as("bash");
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$@\"");
        shell.args(["-c", &script, "bash"]).arg(site.cluster.dir().join("walmgr"));
        shell.args(site.arguments(args));
        shell.current_dir(command.get_current_dir().unwrap());
        shell
    }

    /// It fails, with this exit code, for want of space.
    fn fails(&self, site: &Site, code: i32, args: &[&str]) {
        let output: Output = self.command(site, args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(args, &output));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let reason = if self.mounted { "No space left on device" } else { "File too large" };
        assert!(text.contains(reason), "{text}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("--lazy").arg(&self.directory).status();
        }
    }
}

/// A site whose repository is in a small place, with some segments that wait in `pg_wal`.
fn small_site() -> (Site, Small, Vec<String>) {
    let cluster = archiving().set("archive_command", "false").start();
    let small = Small::below(cluster.dir());
    let site = Site::beside(cluster, &small.directory.join("repository"));
    // What is stored is as large as what comes, so that it is known to exceed the rest.
    site.configure("repository.compression = 'none'");
    site.ok(&["setup", "--repository-only"]);
    site.cluster.psql("postgres", "create table t (n int)");
    let segments = (1..=3)
        .map(|n| {
            site.cluster.psql("postgres", &format!("insert into t values ({n})"));
            let name = "select pg_walfile_name(pg_current_wal_lsn())";
            let name = site.cluster.psql("postgres", name);
            site.cluster.psql("postgres", "select pg_switch_wal()");
            name
        })
        .collect();
    (site, small, segments)
}

/// Files in the repository, without locks; also those that are hidden.
fn files(site: &Site) -> Vec<PathBuf> {
    let all = snapshot(site.repository()).into_iter().map(|(path, _)| path);
    all.filter(|path| path.is_file() && !path.to_string_lossy().contains("/locks/")).collect()
}

#[test]
fn a_push_into_a_full_repository_fails_whole_and_is_repeated() {
    let (site, small, segments) = small_site();
    let path = format!("pg_wal/{}", segments[0]);
    let get = ["archive-get", &segments[0], "../fetched"];
    let before = files(&site);
    for kilobytes in [0, 8, 500] {
        small.leave(kilobytes);
        small.fails(&site, 4, &["archive-push", &path]);
        assert_eq!(files(&site), before, "something was left behind");
        site.absent(&get);
        small.free();
    }
    site.ok(&["archive-push", &path]);
    site.ok(&get);

    // The daemon is not ended by it.
    small.leave(300);
    let mut daemon = small.command(&site, &["daemon"]).spawn().unwrap();
    let socket = site.cluster.data_dir().join("walmgr.sock");
    let answers =
        || wait_until(PATIENCE, || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    assert!(answers());
    let path = format!("pg_wal/{}", segments[1]);
    small.fails(&site, 4, &["archive-push", &path]);
    assert!(!site.object(&segments[1]).exists());
    assert!(daemon.try_wait().unwrap().is_none(), "the daemon has ended");
    small.free();
    if !small.mounted {
        // Its limit cannot be lifted.
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        daemon = site.command(&["daemon"]).spawn().unwrap();
        assert!(answers());
    }
    for segment in &segments[1..] {
        site.ok(&["archive-push", &format!("pg_wal/{segment}")]);
        site.ok(&["archive-get", segment, "../fetched"]);
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    site.ok(&["verify"]);
}

#[test]
fn a_backup_and_a_restore_without_space_are_none_and_are_repeated() {
    let (site, small, _) = small_site();
    site.ok(&["setup"]);
    for kilobytes in [100, 3000] {
        small.leave(kilobytes);
        small.fails(&site, 4, &["backup", "--jobs", "2"]);
        assert_eq!(site.ok(&["listbackups", "--json"]), "[]");
        assert!(!files(&site).iter().any(|path| path.extension().is_some_and(|e| e == "tmp")));
        small.free();
        site.ok(&["verify"]);
    }
    site.ok(&["backup"]);
    site.ok(&["verify"]);

    let copy = Site::beside(Cluster::empty(Tree::Ours), site.repository());
    let data = small.directory.join("data");
    let args = ["restore", "--data", data.to_str().unwrap(), "--no-archive"];
    small.leave(500);
    small.fails(&copy, 8, &args);
    assert!(!data.join("global/pg_control").exists(), "a torso looks like a cluster");
    small.free();
    copy.ok(&[&args[..], &["--force"]].concat());
    let mut check = copy.cluster.run_as(copy.cluster.tree().bin().join("pg_verifybackup"));
    let output = check.arg("--no-parse-wal").arg(&data).output().unwrap();
    assert!(output.status.success(), "{}", said(&["pg_verifybackup"], &output));
}
