//! One archiver set up beside a server with an empty repository of its own.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pgq_tests::wait_until;

use crate::peers;
use pgq_tests::site::Site;

/// Threads or processes that every archiver may use.
pub(crate) const JOBS: usize = 2;

/// Which archiver, and how it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing is stored: what the server's own part costs.
    True,
    /// `cp`, without fsync.
    Copy,
    /// walmgr with this compression, on its own.
    Walmgr(&'static str),
    /// The same with its daemon.
    Daemon(&'static str),
    /// walmgr with this compression on its own, and its repository encrypted.
    Sealed(&'static str),
    /// The same with its daemon.
    SealedDaemon(&'static str),
    /// walmgr with this compression on its own, and two repositories, both required.
    Two(&'static str),
    /// The same with its daemon.
    TwoDaemon(&'static str),
    /// walmgr with its daemon as archive_library.
    Library(&'static str),
    /// pgBackRest with this compression.
    Backrest(&'static str),
    /// The same, asynchronous.
    BackrestAsync(&'static str),
    /// `barman put-wal`, without compression, which Barman does later.
    Barman,
}

/// An archiver with an empty repository. Dropping it ends its daemon and removes its files.
pub(crate) struct Archiver {
    /// Its files.
    pub(crate) directory: PathBuf,
    /// What makes the server archive through it.
    pub(crate) setting: (&'static str, String),
    /// The archive_library that knows this setting, which has to be loaded before.
    pub(crate) library: Option<&'static str>,
    /// Its daemon.
    pub(crate) daemon: Option<Child>,
}

impl Archiver {
    /// Set up an archiver for a running server.
    pub(crate) fn new(site: &Site, kind: Kind) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let directory = site.cluster.dir().join(format!("archiver-{serial}"));
        ok(site.cluster.run_as("mkdir").arg(&directory));
        let place = directory.display().to_string();
        let mut daemon = None;
        let archive_command = match kind {
            Kind::True => "/bin/true".to_owned(),
            Kind::Copy => format!("cp %p {place}/%f"),
            Kind::Library(codec) => {
                let config = walmgr_config(site, &directory, codec, Repositories::One);
                ok(walmgr(site, &config).args(["setup", "--repository-only"]));
                daemon = Some(start_daemon(site, &config));
                let setting = ("walmgr_archive.config", config.display().to_string());
                return Self { directory, setting, library: Some("walmgr_archive"), daemon };
            }
            Kind::Walmgr(codec)
            | Kind::Daemon(codec)
            | Kind::Sealed(codec)
            | Kind::SealedDaemon(codec)
            | Kind::Two(codec)
            | Kind::TwoDaemon(codec) => {
                let repositories = match kind {
                    Kind::Sealed(_) | Kind::SealedDaemon(_) => Repositories::Sealed,
                    Kind::Two(_) | Kind::TwoDaemon(_) => Repositories::Two,
                    _ => Repositories::One,
                };
                let config = walmgr_config(site, &directory, codec, repositories);
                ok(walmgr(site, &config).args(["setup", "--repository-only"]));
                if matches!(kind, Kind::Daemon(_) | Kind::SealedDaemon(_) | Kind::TwoDaemon(_)) {
                    daemon = Some(start_daemon(site, &config));
                }
                let program = site.cluster.dir().join("walmgr-push");
                format!("{} --config {} archive-push %p", program.display(), config.display())
            }
            Kind::Backrest(codec) | Kind::BackrestAsync(codec) => {
                let asynchronous = matches!(kind, Kind::BackrestAsync(_));
                let config = backrest_config(site, &directory, codec, asynchronous);
                ok(backrest(site, &config).arg("stanza-create"));
                let program = peers::backrest().display().to_string();
                format!("{program} --config={} --stanza=main archive-push %p", config.display())
            }
            Kind::Barman => {
                let config = barman_config(site, &directory);
                // What barman-wal-archive sends, without ssh: the file and its checksum.
                let script = format!(
                    "cd pg_wal && md5sum $1 >{place}/MD5SUMS && tar -cf - $1 -C {place} MD5SUMS | {} -q -c {} put-wal main\n",
                    peers::barman(),
                    config.display()
                );
                fs::write(directory.join("put-wal"), script).unwrap();
                format!("sh {place}/put-wal %f")
            }
        };
        Self { directory, setting: ("archive_command", archive_command), library: None, daemon }
    }

    /// Peak memory of the daemon in kB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let Some(daemon) = &self.daemon else { return 0 };
        // setpriv replaces itself, so this is walmgr.
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Archiver {
    /// End its daemon; its files stay.
    pub(crate) fn stop(mut self) -> Self {
        self.kill();
        self
    }

    fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Run a command to its end; a failure ends the run.
pub(crate) fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// walmgr as the server's user.
pub(crate) fn walmgr(site: &Site, config: &Path) -> Command {
    let mut command = site.cluster.run_as(site.cluster.dir().join("walmgr"));
    command.current_dir(site.cluster.data_dir()).arg("--config").arg(config);
    command
}

/// The repositories of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repositories {
    /// One.
    One,
    /// One that is encrypted.
    Sealed,
    /// Two, on the same disk.
    Two,
}

/// Write a configuration whose repositories are in the directory, and a key beside them.
pub(crate) fn walmgr_config(
    site: &Site,
    directory: &Path,
    codec: &str,
    repositories: Repositories,
) -> PathBuf {
    let place = directory.display();
    let one = |name: &str| format!("path = '{place}/{name}'\ncompression = '{codec}'\n");
    let tables = match repositories {
        Repositories::One | Repositories::Sealed => {
            format!("[repository]\n{}", one("repository"))
        }
        Repositories::Two => ["one", "two"]
            .map(|name| format!("[[repository]]\nname = '{name}'\n{}", one(name)))
            .concat(),
    };
    let mut text = format!(
        "stanza = 'main'\n\
         cluster.data = '{}'\n\
         cluster.connect = \"{}\"\n\
         backup.jobs = {JOBS}\n\
         daemon.jobs = {JOBS}\n\
         {tables}",
        site.cluster.data_dir().display(),
        site.cluster.conninfo("postgres"),
    );
    let config = directory.join("walmgr.toml");
    if repositories == Repositories::Sealed {
        let key = directory.join("key").display().to_string();
        text.push_str(&format!("encryption.key_file = '{key}'\n"));
        fs::write(&config, &text).unwrap();
        ok(walmgr(site, &config).args(["--quiet", "key", "generate", &key]));
    }
    fs::write(&config, text).unwrap();
    config
}

fn start_daemon(site: &Site, config: &Path) -> Child {
    let mut daemon = walmgr(site, config).args(["--quiet", "daemon"]).spawn().unwrap();
    let socket = site.cluster.data_dir().join("walmgr.sock");
    let up = wait_until(Duration::from_secs(30), || UnixStream::connect(&socket).is_ok());
    assert!(up && daemon.try_wait().unwrap().is_none(), "the daemon did not start");
    daemon
}

/// pgBackRest as the server's user.
pub(crate) fn backrest(site: &Site, config: &Path) -> Command {
    let mut command = site.cluster.run_as(peers::backrest());
    command.arg(format!("--config={}", config.display())).arg("--stanza=main");
    command
}

/// Write a configuration whose repository, spool and locks are in the directory.
pub(crate) fn backrest_config(
    site: &Site,
    directory: &Path,
    codec: &str,
    asynchronous: bool,
) -> PathBuf {
    let place = directory.display();
    let codec = if codec == "zstd" { "zst" } else { codec };
    let text = format!(
        "[global]\n\
         repo1-path={place}/repository\n\
         spool-path={place}/spool\n\
         lock-path={place}/lock\n\
         log-path={place}/log\n\
         log-level-file=off\n\
         log-level-console=error\n\
         compress-type={codec}\n\
         process-max={JOBS}\n\
         start-fast=y\n\
         archive-async={}\n\
         [main]\n\
         pg1-path={}\n\
         pg1-socket-path={}\n\
         pg1-port={}\n\
         pg1-user=postgres\n",
        if asynchronous { "y" } else { "n" },
        // It wants the path that the server knows.
        site.cluster.data_dir().canonicalize().unwrap().display(),
        site.cluster.dir().display(),
        site.cluster.port(),
    );
    let config = directory.join("pgbackrest.conf");
    fs::write(&config, text).unwrap();
    config
}

fn barman_config(site: &Site, directory: &Path) -> PathBuf {
    let place = directory.display();
    let text = format!(
        "[barman]\n\
         barman_user = {}\n\
         barman_home = {place}/barman\n\
         configuration_files_directory = {place}/barman.d\n\
         [main]\n\
         description = main\n\
         archiver = on\n\
         conninfo = {}\n\
         backup_method = postgres\n",
        ok(site.cluster.run_as("id").arg("-un")).trim(),
        site.cluster.conninfo("postgres"),
    );
    let config = directory.join("barman.conf");
    fs::write(&config, text).unwrap();
    ok(site.cluster.run_as("mkdir").arg(directory.join("barman.d")));
    config
}
