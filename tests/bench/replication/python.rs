//! Debian's Python londiste and pgqd, as they come.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use pgq_tests::programs::{programs_of_others, stderr};
use pgq_tests::{Cluster, Tree};

use crate::tables::{DATABASE, TABLES};

/// The programs of two nodes. They end with the value.
pub(crate) struct Programs {
    dir: tempfile::TempDir,
    ticker: Child,
    root: Child,
    leaf: Option<Child>,
}

impl Programs {
    /// Make root and leaf, and the root's tables; ticker and workers run then.
    pub(crate) fn start(root: &Cluster, leaf: &Cluster) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pgqd = format!(
            "[pgqd]\nbase_connstr = host={} port={} user=postgres\ndatabase_list = {DATABASE}\n\
             syslog = 0\n",
            root.dir().display(),
            root.port()
        );
        fs::write(dir.path().join("pgqd.ini"), pgqd).unwrap();
        for (name, cluster) in [("root", root), ("leaf", leaf)] {
            let text = format!(
                "[londiste]\njob_name = {name}_worker\ndb = {}\nqueue_name = bench\n\
                 parallel_copies = 2\nlogfile = {1}/{name}.log\npidfile = {1}/{name}.pid\n",
                cluster.conninfo(DATABASE),
                dir.path().display()
            );
            fs::write(dir.path().join(format!("{name}.ini")), text).unwrap();
        }
        let usr = Tree::Peer.bin().ancestors().nth(4).unwrap().to_path_buf();
        let mut ticker = Command::new(usr.join("bin/pgqd"));
        ticker.arg("-q").arg(dir.path().join("pgqd.ini"));
        ticker.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let command = |name: &str, arguments: &[&str]| command(dir.path().join(name), arguments);
        let here = root.conninfo(DATABASE);
        run(command("root.ini", &["create-root", "root", &here]));
        let provider = format!("--provider={here}");
        run(command("leaf.ini", &["create-leaf", "leaf", &leaf.conninfo(DATABASE), &provider]));
        let ticker = ticker.spawn().unwrap();
        let worker = command("root.ini", &["worker"]).spawn().unwrap();
        let tables: Vec<&str> = [&["add-table"], TABLES.as_slice()].concat();
        run(command("root.ini", &tables));
        let mut programs = Self { dir, ticker, root: worker, leaf: None };
        programs.start_leaf();
        programs
    }

    /// Attach the tables at the leaf.
    pub(crate) fn attach(&self, copy: bool) {
        let options: &[&str] = if copy { &["add-table"] } else { &["add-table", "--expect-sync"] };
        run(command(self.ini("leaf"), &[options, TABLES.as_slice()].concat()));
    }

    pub(crate) fn start_leaf(&mut self) {
        let worker = command(self.ini("leaf"), &["worker"]).spawn().unwrap();
        self.leaf = Some(worker);
    }

    pub(crate) fn stop_leaf(&mut self) {
        if let Some(mut leaf) = self.leaf.take() {
            let _ = leaf.kill();
            let _ = leaf.wait();
        }
    }

    fn ini(&self, node: &str) -> PathBuf {
        self.dir.path().join(format!("{node}.ini"))
    }

    /// The leaf's worker, while it runs.
    pub(crate) fn leaf(&self) -> Option<u32> {
        self.leaf.as_ref().map(Child::id)
    }

    /// Processes that work for the root.
    pub(crate) fn of_root(&self) -> [u32; 2] {
        [self.ticker.id(), self.root.id()]
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.stop_leaf();
        for child in [&mut self.root, &mut self.ticker] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn command(ini: PathBuf, arguments: &[&str]) -> Command {
    let programs = programs_of_others();
    let mut command = Command::new("/usr/bin/python3");
    command.env("PYTHONPATH", programs.join("usr/lib/python3/dist-packages"));
    command.arg(programs.join("usr/bin/londiste")).arg(&ini).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run(mut command: Command) {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", stderr(&output));
}
