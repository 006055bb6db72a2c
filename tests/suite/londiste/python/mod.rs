//! Debian's python londiste, unchanged: it makes cascades on our extensions, and replicates.

mod life;
mod mixed;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use pgq_tests::programs::{pgq, programs_of_others, stderr};
use pgq_tests::query::{row, run, try_rows};
use pgq_tests::{Cluster, PATIENCE, wait_until};
use postgres::Client;

/// Whose program administers a node and works for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Python,
    Ours,
}

/// A node of cascade `rep` with its INI file and worker. Both end with the value.
pub(super) struct Node<'a> {
    cluster: &'a Cluster,
    name: &'static str,
    program: Program,
    dir: tempfile::TempDir,
    worker: Option<Child>,
}

impl<'a> Node<'a> {
    /// A database called like the node, and an INI file for it.
    pub(super) fn new(cluster: &'a Cluster, name: &'static str, program: Program) -> Self {
        run(&mut cluster.connect("postgres"), &format!("create database {name}"));
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "[londiste]\njob_name = {name}_worker\ndb = {}\nqueue_name = rep\nloop_delay = 0.1\n\
             lock_timeout = 150\nparallel_copies = 4\nlogfile = {1}/log\npidfile = {1}/pid\n",
            cluster.conninfo(name),
            dir.path().display()
        );
        fs::write(dir.path().join("ini"), text).unwrap();
        Self { cluster, name, program, dir, worker: None }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn location(&self) -> String {
        self.cluster.conninfo(self.name)
    }

    pub(super) fn ini(&self) -> PathBuf {
        self.dir.path().join("ini")
    }

    pub(super) fn connect(&self) -> Client {
        self.cluster.connect(self.name)
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.program {
            Program::Ours => pgq(&["londiste"]),
            Program::Python => {
                let programs = programs_of_others();
                let mut command = Command::new("/usr/bin/python3");
                command.env("PYTHONPATH", programs.join("usr/lib/python3/dist-packages"));
                command.arg(programs.join("usr/bin/londiste"));
                command
            }
        };
        command.arg(self.ini()).args(arguments);
        command.stdin(Stdio::null()).current_dir(self.dir.path());
        command
    }

    pub(super) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Run a command and expect success; what it said.
    pub(super) fn londiste(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        let is_well = !["ERROR", "CRITICAL", "Traceback"].iter().any(|word| said.contains(word));
        assert!(
            output.status.success() && is_well,
            "londiste {} {arguments:?}: {}\n{said}",
            self.name,
            output.status
        );
        said
    }

    pub(super) fn start_worker(&mut self) {
        let mut command = self.command(&["worker"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.worker = Some(command.spawn().unwrap());
    }

    /// End the worker at once, as kill -9 does.
    pub(super) fn kill_worker(&mut self) {
        if let Some(mut worker) = self.worker.take() {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }

    /// Poll this node until a query has the answer.
    pub(super) fn wait_for(&self, query: &str, answer: &str) {
        let mut client = self.connect();
        let mut found = String::new();
        let is_there = wait_until(PATIENCE, || {
            found = match try_rows(&mut client, query) {
                Ok(rows) => rows.join("\n"),
                Err(error) => error.to_string(),
            };
            found == answer
        });
        assert!(
            is_there,
            "{}: {query}: {found}, not {answer}\n{}",
            self.name,
            fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
        );
    }

    /// Poll until all tables of the queue are in sync here.
    pub(super) fn wait_until_in_sync(&self) {
        self.wait_for(
            "select bool_and(local and merge_state = 'ok') from londiste.get_table_list('rep')",
            "t",
        );
    }

    /// Poll until rows of a table here are those of another node.
    pub(super) fn wait_for_rows_of(&self, other: &Node<'_>, table: &str) {
        let all = format!(
            "select count(*), md5(string_agg(x::text, ',' order by x::text)) from {table} x"
        );
        self.wait_for(&all, &row(&mut other.connect(), &all));
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        self.kill_worker();
        // Copies are daemons of their own. Only one that has this node's file in its command line
        // is ours.
        for entry in fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
            if !entry.file_name().to_string_lossy().starts_with("pid.copy") {
                continue;
            }
            let Ok(pid) = fs::read_to_string(entry.path()) else { continue };
            let pid = pid.trim();
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if line.contains(&*self.ini().to_string_lossy()) {
                let _ = Command::new("kill").args(["-KILL", pid]).status();
            }
        }
    }
}

/// Ticks as fast as a test wants them.
pub(super) fn tick_fast(client: &mut Client) {
    run(
        client,
        "select pgq.set_queue_config('rep', 'ticker_max_lag', '50 ms'),
                pgq.set_queue_config('rep', 'ticker_idle_period', '100 ms')",
    );
}
