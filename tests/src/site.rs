//! What the walmgr tests share: a cluster with a configuration and a repository beside it, and ways
//! to call the program.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::PATIENCE;
use crate::unsteady::{Unsteady, with_second};
use crate::{Cluster, ClusterBuilder, Tree, major_version, wait_until};

/// A cluster, and walmgr set up for it.
pub struct Site {
    /// The server that archives.
    pub cluster: Cluster,
    repository: PathBuf,
    place: String,
    program: PathBuf,
    unsteady: Option<Unsteady>,
}

/// The key of encrypted repositories, the same for all that share one: 1, 2, 3, … 32.
const KEY: &str = "WALMGR-KEY-1:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA+y0qO\n";

/// A line of configuration that says that a site is about plain repositories.
const PLAIN: &str = "# no encryption";

/// True when `PGQ_WALMGR`, a list of words with commas, has this one: `sealed` lets every site have
/// an encrypted repository that does not say otherwise itself, `two` a second one that is not
/// required and fails now and then.
pub fn is_asked_for(word: &str) -> bool {
    std::env::var("PGQ_WALMGR").is_ok_and(|list| list.split(',').any(|one| one.trim() == word))
}

/// A builder for clusters that archive: small segments, so that tests are quick, and nothing that
/// writes by itself once a minute.
pub fn archiving() -> ClusterBuilder {
    Cluster::builder()
        .initdb_arg("--wal-segsize=1")
        .initdb_arg("--data-checksums")
        .set("archive_mode", "on")
        .set("wal_level", "replica")
        .set("max_wal_size", "32MB")
        .set("min_wal_size", "2MB")
        .set("shared_buffers", "16MB")
        .set("autovacuum", "off")
        .set("checkpoint_timeout", "1h")
}

impl Site {
    /// A site of its own repository for a cluster, running or not.
    pub fn new(cluster: Cluster) -> Self {
        let repository = cluster.dir().join("repository");
        Self::beside(cluster, &repository)
    }

    /// A site whose repository is encrypted in no run of the suite: for tests that write what is in
    /// objects themselves, as a forger or another walmgr would. Encrypted objects cannot be made
    /// without the key, and a changed one is damage whatever was changed, which `encryption::*`
    /// shows; these are about what becomes of the content.
    pub fn plain(cluster: Cluster) -> Self {
        let repository = cluster.dir().join("repository");
        let place = format!("repository.path = '{}'\n{PLAIN}", repository.display());
        Self::at(cluster, &repository, place)
    }

    /// A site that has no second repository in any run of the suite, nor have those beside it: for
    /// tests of what becomes of who cannot reach *the* repository. What several mean together then
    /// is in `several::*`.
    pub fn single(cluster: Cluster) -> Self {
        let repository = cluster.dir().join("repository");
        let place = format!("repository.path = '{}'", repository.display());
        Unsteady::forbid(&of_all(&place));
        Self::at(cluster, &repository, place)
    }

    /// A site that shares the repository of another.
    pub fn beside(cluster: Cluster, repository: &Path) -> Self {
        let is_plain =
            repository.join("walmgr.repo").exists() && !repository.join("walmgr.keys").exists();
        let end = if is_plain { PLAIN } else { "" };
        let place = format!("repository.path = '{}'\n{end}", repository.display());
        Self::at(cluster, repository, place)
    }

    /// A site whose repository is wherever these lines of configuration say.
    pub fn at(cluster: Cluster, repository: &Path, place: String) -> Self {
        let program = cluster.dir().join("walmgr");
        if !program.exists() {
            for built in built_programs() {
                let here = cluster.dir().join(built.file_name().expect("a file"));
                if fs::hard_link(&built, &here).is_err() {
                    fs::copy(&built, &here).expect("copy walmgr");
                }
            }
        }
        let has_one = place.lines().any(|line| line.starts_with("repository."));
        let unsteady = match has_one && is_asked_for("two") {
            true => Unsteady::new(cluster.dir(), &of_all(&place)),
            false => None,
        };
        let mut place = place;
        if has_one && !place.contains("encryption") && is_asked_for("sealed") {
            let key = cluster.dir().join("site.key");
            write_owned(&key, KEY.as_bytes());
            fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("close the key file");
            place.push_str(&format!("\nrepository.encryption.key_file = '{}'", key.display()));
        }
        let repository = repository.to_owned();
        let site = Self { cluster, repository, place, program, unsteady };
        site.configure("");
        site
    }

    /// Write the configuration, with more lines of TOML. With `PGQ_WALMGR=two` there is a second
    /// repository, which is not required and fails now and then.
    pub fn configure(&self, more: &str) {
        let (place, more) = match &self.unsteady {
            Some(second) => (String::new(), with_second(&self.place, more, second.directory())),
            None => (self.place.clone(), more.to_owned()),
        };
        let text = format!(
            "stanza = 'main'\n\
             cluster.data = '{}'\n\
             cluster.bin = '{}'\n\
             cluster.connect = \"{}\"\n\
             {}\n\
             archive.get_timeout = '300ms'\n\
             archive.standby_get_timeout = '100ms'\n\
             {more}\n",
            self.cluster.data_dir().display(),
            self.cluster.tree().bin().display(),
            self.cluster.conninfo("postgres"),
            place,
        );
        fs::write(self.config(), text).expect("write the configuration");
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.cluster.dir().join("walmgr.toml")
    }

    /// The directory of the repository.
    pub fn repository(&self) -> &Path {
        &self.repository
    }

    /// A call of walmgr as the server's user, in the data directory as the server does it.
    pub fn command<S: AsRef<str>>(&self, args: &[S]) -> Command {
        let mut command = self.cluster.run_as(&self.program);
        command.args(self.arguments(args));
        let data = self.cluster.data_dir();
        command.current_dir(if data.exists() { &data } else { self.cluster.dir() });
        command
    }

    /// The arguments of such a call, for who calls walmgr in another way.
    pub fn arguments<S: AsRef<str>>(&self, args: &[S]) -> Vec<String> {
        let mut all = vec!["--config".to_owned(), self.config().display().to_string()];
        if let Some(second) = &self.unsteady {
            let left_out = second.leave_out(args.iter().map(AsRef::as_ref));
            all.extend(left_out.iter().map(|arg| (*arg).to_owned()));
        }
        all.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        all
    }

    /// Run a command to its end.
    fn ended(&self, command: &mut Command) -> Output {
        let output = command.output().expect("run walmgr");
        self.unsteady.iter().for_each(Unsteady::begin);
        output
    }

    /// Call walmgr; what it printed. Failure is a failed test.
    pub fn ok<S: AsRef<str>>(&self, args: &[S]) -> String {
        let output = self.ended(&mut self.command(args));
        assert_eq!(output.status.code(), Some(0), "{}", said(args, &output));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Call walmgr and expect an exit code; what it said on standard error.
    pub fn fails<S: AsRef<str>>(&self, code: i32, args: &[S]) -> String {
        let output = self.ended(&mut self.command(args));
        assert_eq!(output.status.code(), Some(code), "{}", said(args, &output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Call walmgr with an armed failpoint.
    pub fn at_failpoint<S: AsRef<str>>(&self, failpoint: &str, args: &[S]) -> Output {
        let mut command = self.command(args);
        self.ended(command.env("WALMGR_FAILPOINT", failpoint))
    }

    /// Call `archive-get` for what no repository has: absent, exit code 1. With a second repository
    /// that is away just now there may be no answer, 200, until it is back.
    pub fn absent<S: AsRef<str>>(&self, args: &[S]) {
        let mut last = None;
        let said_so = wait_until(PATIENCE, || {
            let output = self.ended(&mut self.command(args));
            let code = output.status.code();
            let is_away = self.unsteady.is_some() && code == Some(200);
            assert!(code == Some(1) || is_away, "{}", said(args, &output));
            last = Some(output);
            code == Some(1)
        });
        assert!(said_so, "{}", said(args, &last.expect("it was called")));
    }

    /// The program that `setup` makes the archive_command.
    pub fn archive_program(&self) -> PathBuf {
        let small = self.cluster.dir().join("walmgr-push");
        if small.exists() { small } else { self.program.clone() }
    }

    /// A `restore_command` or part of one.
    pub fn restore_command(&self) -> String {
        format!("{} --config {} archive-get %f %p", self.program.display(), self.config().display())
    }

    /// Finish the current segment and wait until everything before it is archived.
    pub fn archive_all(&self) {
        let walfile = self.cluster.psql(
            "postgres",
            "select pg_walfile_name(pg_switch_wal()) from pg_create_restore_point('x')",
        );
        let archived = wait_until(PATIENCE, || {
            let last = self
                .cluster
                .psql("postgres", "select max(left(last_archived_wal, 24)) from pg_stat_archiver");
            last >= walfile || self.object(&walfile).exists()
        });
        assert!(archived, "{walfile} was not archived; the server's log:\n{}", self.cluster.log());
    }

    /// Where the repository keeps a segment.
    pub fn object(&self, name: &str) -> PathBuf {
        self.repository.join("main/wal").join(&name[..8]).join(&name[8..16]).join(name)
    }

    /// Names of all segments of a timeline in the repository, sorted.
    pub fn segments(&self, timeline: &str) -> Vec<String> {
        let mut names = Vec::new();
        let top = self.repository.join("main/wal").join(timeline);
        for high in fs::read_dir(top).into_iter().flatten() {
            for entry in fs::read_dir(high.unwrap().path()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.len() == 24 {
                    names.push(name);
                }
            }
        }
        names.sort();
        names
    }
}

/// The arguments of a call for one repository alone, also where there are several.
pub fn alone<S: AsRef<str>>(args: &[S]) -> Vec<String> {
    let args = args.iter().map(|arg| arg.as_ref().to_owned());
    ["--repo".to_owned(), "main".to_owned()].into_iter().chain(args).collect()
}

/// What all sites of a repository say of its place.
fn of_all(place: &str) -> String {
    let says_where = |line: &&str| {
        let key = line.split(" =").next().unwrap_or_default();
        key.ends_with(".path") || key.ends_with(".endpoint")
    };
    place.lines().filter(says_where).collect()
}

/// A copy of a stopped cluster's data directory in a new cluster.
pub fn clone_of(cluster: &Cluster) -> Cluster {
    let copy = Cluster::empty(Tree::Ours);
    copy_tree(&cluster.data_dir(), &copy.data_dir());
    copy
}

/// `cp -a`.
pub fn copy_tree(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("run cp");
    assert!(status.success(), "cp -a {} {}", from.display(), to.display());
}

/// Write a file that belongs to whoever owns its directory.
pub fn write_owned(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("write a file");
    let owner = fs::metadata(path.parent().unwrap()).expect("look at the directory");
    chown(path, Some(owner.uid()), Some(owner.gid())).expect("give the file away");
}

/// Write a program. Another process does it: where this one has a file open, so may have a process
/// that another thread begins just then, and who runs it would be told that the file is busy.
pub fn write_program(path: &Path, bytes: &[u8]) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut shell = shell.spawn().expect("start a shell");
    let mut input = shell.stdin.take().expect("its input is a pipe");
    input.write_all(bytes).expect("give the shell the program");
    drop(input);
    let status = shell.wait().expect("wait for the shell");
    assert!(status.success(), "write {}", path.display());
}

/// Every file below a directory with its bytes, for comparing before and after.
pub fn snapshot(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else { return files };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.push((path.clone(), Vec::new()));
            files.extend(snapshot(&path));
        } else {
            let bytes = fs::read(&path).unwrap_or_default();
            files.push((path, bytes));
        }
    }
    files.sort();
    files
}

/// What a command said, for the message of a failed test.
pub fn said<S: AsRef<str>>(args: &[S], output: &Output) -> String {
    let args: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    format!(
        "walmgr {args:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The programs that cargo built beside this test.
fn built_programs() -> Vec<PathBuf> {
    let suite = std::env::current_exe().expect("path of the test program");
    let directory = suite.parent().and_then(Path::parent).expect("cargo's directory");
    let push = cfg!(any(target_arch = "x86_64", target_arch = "aarch64")).then_some("walmgr-push");
    let built = ["walmgr", "walmgr-tls"].into_iter().chain(push).map(|name| {
        let program = directory.join(name);
        assert!(program.exists(), "{} is not built; make test builds it", program.display());
        program
    });
    built.collect()
}

/// PostgreSQL 13 and 14 have no archive libraries, and nothing of this.
pub fn has_libraries() -> bool {
    !["13", "14"].contains(&major_version().as_str())
}
