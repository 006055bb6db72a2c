//! One PostgreSQL server in a directory of its own.

use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use postgres::{Client, NoTls};

use crate::PATIENCE;
use crate::port::Port;
use crate::tree::{Tree, work_dir};
use crate::wait::wait_until;

/// How to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGINT: roll back what is open, write a checkpoint.
    Fast,
    /// SIGQUIT: no checkpoint; the next start recovers.
    Immediate,
    /// SIGKILL of the postmaster and every backend, as a power cut would.
    Kill,
}

/// Settings of a cluster to be made.
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    tree: Tree,
    settings: Vec<(String, String)>,
    initdb_args: Vec<String>,
}

impl ClusterBuilder {
    /// Add a line to `postgresql.conf`; the value is quoted here.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Pass an argument to `initdb`.
    pub fn initdb_arg(mut self, arg: &str) -> Self {
        self.initdb_args.push(arg.to_owned());
        self
    }

    /// Run `initdb` and start the server.
    pub fn start(self) -> Cluster {
        let mut cluster = self.create();
        cluster.start();
        cluster
    }

    /// Run `initdb`; [`Cluster::start`] starts the server.
    pub fn create(self) -> Cluster {
        let cluster = Cluster::empty(self.tree);
        let mut initdb = cluster.run_as(self.tree.bin().join("initdb"));
        initdb
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--no-sync", "--pgdata"])
            .arg(cluster.data_dir())
            .args(&self.initdb_args);
        run(&mut initdb);
        cluster.write_settings(&self.settings);
        cluster
    }
}

/// A PostgreSQL server of the test's own. Dropping it stops the server and removes its files.
///
/// The server also goes away when the test process dies: it is run by a shell that waits for the
/// end of a pipe.
#[derive(Debug)]
pub struct Cluster {
    tree: Tree,
    dir: PathBuf,
    port: Port,
    environment: Vec<String>,
    keeper: Option<Child>,
}

impl Cluster {
    /// Begin a cluster of our own tree with settings that suit tests.
    pub fn builder() -> ClusterBuilder {
        Self::builder_on(Tree::Ours)
    }

    /// Begin a cluster of the given tree.
    pub fn builder_on(tree: Tree) -> ClusterBuilder {
        ClusterBuilder { tree, settings: Vec::new(), initdb_args: Vec::new() }
    }

    /// A directory and a port for a cluster whose data directory somebody else fills
    /// (`pg_basebackup`, a restore tool).
    pub fn empty(tree: Tree) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let base = std::env::var_os("PGQ_CLUSTERS")
            .map_or_else(|| work_dir().join("clusters"), PathBuf::from);
        let dir = base.join(format!("{}-{serial}", std::process::id()));
        if dir.exists() {
            fs::remove_dir_all(&dir).expect("remove the leftovers of another run");
        }
        fs::create_dir_all(&dir).expect("create the cluster's directory");
        if let Some((user, group)) = server_ids() {
            chown(&dir, Some(user), Some(group))
                .expect("give the cluster's directory to the server's user");
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("set directory mode");
        let port = Port::free();
        Self { tree, dir, port, environment: Vec::new(), keeper: None }
    }

    /// The tree whose programs this cluster runs.
    pub fn tree(&self) -> Tree {
        self.tree
    }

    /// The TCP port on 127.0.0.1, also in the name of the Unix socket.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The cluster's own directory; the Unix socket is in it. Anybody may put files here.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        fs::read(self.dir.join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Append lines to `postgresql.conf`. Takes effect at the next start or [`Cluster::reload`].
    pub fn write_settings(&self, settings: &[(String, String)]) {
        let path = self.data_dir().join("postgresql.conf");
        let mut conf =
            fs::OpenOptions::new().append(true).open(path).expect("open postgresql.conf");
        for (name, value) in settings {
            writeln!(conf, "{name} = '{}'", value.replace('\'', "''"))
                .expect("write postgresql.conf");
        }
    }

    /// An environment variable of the server, from the next start on.
    pub fn set_env(&mut self, name: &str, value: impl Display) {
        self.environment.push(format!("{name}={value}"));
    }

    /// Start the server and wait until it accepts connections (a standby: read-only ones).
    pub fn start(&mut self) {
        self.start_without_waiting();
        let started = wait_until(PATIENCE, || {
            self.try_connect("postgres", "postgres").is_ok() || self.keeper_is_gone()
        });
        assert!(
            started && !self.keeper_is_gone(),
            "the server did not start; its log:\n{}",
            self.log()
        );
    }

    /// Start the server without waiting for it.
    pub fn start_without_waiting(&mut self) {
        assert!(self.keeper.is_none(), "the server is running already");
        // When this process closes the pipe, or dies, `read` returns and the server is stopped.
        // Descriptor 3, since the shell gives background jobs /dev/null as standard input.
        let script = r#"
            exec 3<&0
            dir=$1; shift
            "$@" >>"$dir/log" 2>&1 </dev/null 3<&- &
            server=$!
            { read -r line <&3; kill -QUIT $server; } 2>/dev/null &
            reader=$!
            wait $server
            kill $reader 2>/dev/null
        "#;
        let mut keeper = self.run_as("bash");
        keeper
            .args(["-c", script, "keeper"])
            .arg(&self.dir)
            .arg("env")
            .args(&self.environment)
            .arg(self.tree.bin().join("postgres"))
            .arg("-D")
            .arg(self.data_dir())
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={}", self.port())])
            .args(["-c", &format!("unix_socket_directories={}", self.dir.display())])
            .args(["-c", "log_line_prefix=%m [%p] %b %d "])
            .args(["-c", "cluster_name=pgq_test"]);
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.keeper = Some(keeper.spawn().expect("start the server's keeper"));
    }

    fn keeper_is_gone(&mut self) -> bool {
        match &mut self.keeper {
            Some(keeper) => keeper.try_wait().expect("ask after the keeper").is_some(),
            None => true,
        }
    }

    /// True while the postmaster runs.
    pub fn is_running(&mut self) -> bool {
        !self.keeper_is_gone()
    }

    /// Process id of the postmaster.
    pub fn postmaster_pid(&self) -> u32 {
        let pidfile = fs::read_to_string(self.data_dir().join("postmaster.pid"))
            .expect("read postmaster.pid");
        pidfile
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .expect("a pid in postmaster.pid")
    }

    /// Stop the server and wait for its end.
    pub fn stop(&mut self, how: Stop) {
        let pid = self.postmaster_pid();
        let mut backends = Vec::new();
        match how {
            Stop::Fast => signal("INT", pid),
            Stop::Immediate => signal("QUIT", pid),
            Stop::Kill => {
                // Stopped first: it must not start another backend between the look and the kill.
                signal("STOP", pid);
                let stopped =
                    wait_until(PATIENCE, || stat_field(pid, 0).is_none_or(|state| state == "T"));
                assert!(stopped, "the postmaster cannot be stopped");
                backends = child_pids(pid);
                signal("KILL", pid);
                for backend in &backends {
                    signal("KILL", *backend);
                }
            }
        }
        if let Some(mut keeper) = self.keeper.take() {
            // `wait` would close the pipe first, which makes the keeper end the server at once.
            let pipe = keeper.stdin.take();
            keeper.wait().expect("wait for the server's end");
            drop(pipe);
        }
        // Nobody may hold the old server's shared memory when the next one starts.
        let gone = wait_until(PATIENCE, || {
            backends.iter().all(|backend| stat_field(*backend, 0).is_none_or(|state| state == "Z"))
        });
        assert!(gone, "backends of the killed server are still there");
    }

    /// Take note that the server has ended by itself, so that it can be started again.
    pub fn stop_collected(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().expect("wait for the server's keeper");
        }
    }

    /// Stop (fast) and start.
    pub fn restart(&mut self) {
        self.stop(Stop::Fast);
        self.start();
    }

    /// Make the server read its configuration again.
    pub fn reload(&self) {
        signal("HUP", self.postmaster_pid());
    }

    /// Promote a standby and wait until it is a primary.
    pub fn promote(&self) {
        let mut client = self.connect("postgres");
        let row = client.query_one("select pg_promote(true, 180)", &[]).expect("promote");
        assert!(row.get::<_, bool>(0), "no promotion; its log:\n{}", self.log());
    }

    /// Connection string (key/value form) for a database, as superuser `postgres`.
    pub fn conninfo(&self, database: &str) -> String {
        self.conninfo_as(database, "postgres")
    }

    /// Connection string for a database and a role.
    pub fn conninfo_as(&self, database: &str, user: &str) -> String {
        let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        format!(
            "host={} port={} dbname={} user={}",
            quote(&self.dir.display().to_string()),
            self.port(),
            quote(database),
            quote(user)
        )
    }

    /// Connect as superuser.
    pub fn connect(&self, database: &str) -> Client {
        self.connect_as(database, "postgres")
    }

    /// Connect as a role.
    pub fn connect_as(&self, database: &str, user: &str) -> Client {
        self.try_connect(database, user).unwrap_or_else(|error| {
            panic!("connect to {database} as {user}: {error}\n{}", self.log())
        })
    }

    /// Connect as a role, or say why not.
    pub fn try_connect(&self, database: &str, user: &str) -> Result<Client, postgres::Error> {
        Client::connect(&self.conninfo_as(database, user), NoTls)
    }

    /// A command of the tree with `PGHOST`, `PGPORT`, `PGUSER` set for this cluster.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.tree.command(program);
        command
            .env("PGHOST", &self.dir)
            .env("PGPORT", self.port().to_string())
            .env("PGUSER", "postgres");
        command
    }

    /// Run psql on a script and return what it prints (unaligned, tuples only); a failure is a
    /// failed test.
    pub fn psql(&self, database: &str, script: &str) -> String {
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", script]);
        run(&mut psql)
    }

    /// A command that runs as the server's operating-system user.
    pub fn run_as(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = match server_ids() {
            Some((user, group)) => {
                let mut setpriv = Command::new("setpriv");
                setpriv
                    .arg(format!("--reuid={user}"))
                    .arg(format!("--regid={group}"))
                    .args(["--clear-groups", "--"])
                    .arg(program);
                setpriv
            }
            None => Command::new(program),
        };
        command.env_remove("RUST_BACKTRACE").env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::env::var_os("PGQ_KEEP").is_none() {
            if let Some(mut keeper) = self.keeper.take() {
                drop(keeper.stdin.take());
                let _ = keeper.wait();
            }
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Run a command to its end; its standard output. A failure is a failed test that shows both
/// outputs.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
}

/// Direct children of a process, from /proc.
fn child_pids(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| stat_field(*pid, 1).as_deref() == Some(&parent.to_string()))
        .collect()
}

/// A field of a process's /proc/PID/stat, counted after the command name: 0 is the state, 1 the
/// parent. None: no such process.
fn stat_field(pid: u32, field: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(field).map(str::to_owned)
}

/// User and group that the server must run as when the tests run as root.
fn server_ids() -> Option<(u32, u32)> {
    let own = Command::new("id").arg("-u").output().expect("run id");
    if String::from_utf8_lossy(&own.stdout).trim() != "0" {
        return None;
    }
    let name = std::env::var("PGQ_RUN_AS").unwrap_or_else(|_| "postgres".to_owned());
    let passwd = fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let find = |name: &str| {
        passwd.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            (fields.first() == Some(&name))
                .then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))
                .flatten()
        })
    };
    find(&name).or_else(|| find("nobody"))
}
