//! A set of nodes, each in a database of its own, and the processes of their workers.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use pgq_tests::programs::{dsn, pgq, stderr};
use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{
    Cluster, PATIENCE, Scratch, Tree, scratch_database_for_nodes, scratch_database_on, wait_until,
};
use postgres::Client;

/// What works for nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    /// `pgq londiste INI worker`.
    Program,
    /// `londiste.start_worker()`, where the server is ours.
    Server,
}

/// The nodes of queue `q`, by name. A node's worker is called `NODE_worker`.
pub(super) struct Set {
    sites: BTreeMap<&'static str, Scratch>,
    files: tempfile::TempDir,
    /// As whom workers log in everywhere, if not as we do.
    role: Option<String>,
    driver: Driver,
    /// Nodes on upstream's tree have no server that could work.
    others: Vec<&'static str>,
}

impl Set {
    /// Databases with extension londiste; no nodes yet.
    pub(super) fn new(trees: &[(&'static str, Tree)]) -> Self {
        Self::driven(Driver::Program, trees)
    }

    /// The same, with such workers.
    pub(super) fn driven(driver: Driver, trees: &[(&'static str, Tree)]) -> Self {
        let site = |tree| match (driver, tree) {
            (Driver::Server, Tree::Ours) => scratch_database_for_nodes(),
            _ => scratch_database_on(tree),
        };
        let sites: BTreeMap<_, _> = trees.iter().map(|(name, tree)| (*name, site(*tree))).collect();
        let others = trees.iter().filter(|(_, tree)| *tree != Tree::Ours);
        let others = others.map(|(name, _)| *name).collect();
        for site in sites.values() {
            run(&mut site.connect(), "create extension pgq");
            run(&mut site.connect(), "create extension pgq_node");
            run(&mut site.connect(), "create extension londiste");
        }
        Self { sites, files: tempfile::tempdir().unwrap(), role: None, driver, others }
    }

    pub(super) fn connect(&self, name: &str) -> Client {
        self.sites[name].connect()
    }

    pub(super) fn connect_as(&self, name: &str, role: &str) -> Client {
        self.sites[name].connect_as(role)
    }

    /// Connect to another database of a node's server.
    pub(super) fn connect_to(&self, name: &str, database: &str) -> Client {
        self.sites[name].cluster().connect(database)
    }

    /// Have a node's database in LATIN1; it has no tables yet.
    pub(super) fn remake_in_latin1(&mut self, name: &str) {
        let database = self.sites[name].name().to_owned();
        let mut client = self.connect_to(name, "postgres");
        run(&mut client, &format!("drop database {database} with (force)"));
        run(
            &mut client,
            &format!("create database {database} template template0 encoding 'LATIN1' locale 'C'"),
        );
        for extension in ["pgq", "pgq_node", "londiste"] {
            run(&mut self.connect(name), &format!("create extension {extension}"));
        }
    }

    /// A role that may log in, and nothing else.
    pub(super) fn role(&self, name: &str, what: &str) -> String {
        let role = format!("{}_{what}", self.sites[name].name());
        run(&mut self.connect(name), &format!("create role {role} login"));
        role
    }

    /// Workers, and whoever executes scripts, log in as a superuser of their own. What the
    /// databases set is for them alone: we go on as we were.
    pub(super) fn work_as_another(&mut self, name: &str) -> String {
        let role = self.role(name, "worker");
        run(&mut self.connect(name), &format!("alter role {role} superuser"));
        for site in self.sites.values() {
            let sql =
                format!("alter role postgres in database {} set search_path = public", site.name());
            run(&mut site.connect(), &sql);
        }
        self.role = Some(role.clone());
        role
    }

    /// Make a node; every node but the root is subscribed to its provider first.
    pub(super) fn create(&self, name: &str, kind: &str, provider: Option<&str>) {
        let mut here = self.connect(name);
        for (other, site) in &self.sites {
            let location = dsn(site).replace('\'', "''");
            let sql =
                format!("select pgq_node.register_location('q', '{other}', '{location}', false)");
            run(&mut here, &sql);
        }
        if self.driver == Driver::Server && !self.others.contains(&name) {
            self.name_servers(&mut here);
        }
        let (provider, watermark) = match provider {
            None => ("null".to_owned(), "null".to_owned()),
            Some(provider) => {
                let sql = format!(
                    "select global_watermark from pgq_node.register_subscriber('q', '{name}', '{name}_worker', null)"
                );
                (format!("'{provider}'"), row(&mut self.connect(provider), &sql))
            }
        };
        let sql = format!(
            "select ret_code from pgq_node.create_node('q', '{kind}', '{name}', '{name}_worker', {provider}, {watermark}, null)"
        );
        assert_eq!(row(&mut here, &sql), "200");
        if kind != "leaf" {
            run(
                &mut here,
                "update pgq.queue set queue_ticker_max_count = 1, queue_ticker_max_lag = '0',
                                      queue_ticker_idle_period = '0'",
            );
        }
    }

    /// How the server's worker connects to the nodes.
    fn name_servers(&self, here: &mut Client) {
        for (other, site) in &self.sites {
            run(
                here,
                &format!(
                    "create server {other} foreign data wrapper londiste_fdw
                         options (host '{}', port '{}', dbname '{}');
                     create user mapping for current_user server {other} options (user 'postgres')",
                    site.cluster().dir().display(),
                    site.cluster().port(),
                    site.name()
                ),
            );
        }
    }

    /// Attach a table that is there already; not to be copied with `arguments` `expect_sync`.
    pub(super) fn attach(&self, name: &str, table: &str, arguments: &str) {
        let mut here = self.connect(name);
        let sql = format!("select ret_code from londiste.global_add_table('q', '{table}')");
        assert_eq!(row(&mut here, &sql), "200");
        let sql = format!(
            "select ret_code || ' ' || ret_note from londiste.local_add_table('q', '{table}', '{{{arguments}}}')"
        );
        let answer = row(&mut here, &sql);
        assert!(answer.starts_with("200 "), "{answer}");
    }

    /// Start a node's worker, which dies at this step, if any.
    pub(super) fn start(&self, name: &str, death: Option<&str>) -> Worker {
        if self.driver == Driver::Server && !self.others.contains(&name) {
            assert_eq!(death, None, "a step of a process in the server");
            run(&mut self.connect(name), "select londiste.start_worker('q', 2)");
            let site = &self.sites[name];
            return Worker::Inside(site.cluster(), site.name().to_owned());
        }
        self.start_process(name, death)
    }

    /// Start the program for a node, whatever works for the others.
    pub(super) fn start_program(&self, name: &str) -> Worker {
        self.start_process(name, None)
    }

    fn start_process(&self, name: &str, death: Option<&str>) -> Worker {
        let ini = self.ini(name);
        let mut command = pgq(&["-v", "londiste", ini.to_str().unwrap(), "worker"]);
        if let Some(death) = death {
            command.env("PGQ_FAILPOINT", death);
        }
        let log = self.log(name);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Worker::Beside(child)
    }

    /// Run a script on the root by the command; what it says.
    pub(super) fn execute(&self, name: &str, script: &str, sql: &str) -> String {
        let (done, said) = self.try_execute(name, script, sql);
        assert!(done, "{script}: {said}");
        said
    }

    /// The same, and whether it was done.
    pub(super) fn try_execute(&self, name: &str, script: &str, sql: &str) -> (bool, String) {
        let path = self.files.path().join(script);
        std::fs::write(&path, sql).unwrap();
        let ini = self.ini(name);
        let mut command = pgq(&["londiste", ini.to_str().unwrap(), "execute"]);
        let output = command.arg(&path).output().unwrap();
        (output.status.success(), stderr(&output))
    }

    fn ini(&self, name: &str) -> PathBuf {
        self.connect_with(name, "")
    }

    /// Write a node's settings, with which its database is connected to by these options as well.
    pub(super) fn connect_with(&self, name: &str, options: &str) -> PathBuf {
        let path = self.files.path().join(format!("{name}.ini"));
        let db = dsn(&self.sites[name]);
        let user = self.role.iter().map(|role| format!("user={role}")).collect::<String>();
        let text = format!(
            "[londiste]\njob_name = {name}_worker\nqueue_name = q\ndb = {db} {options} {user}\n\
             remote_extra_connstr = {user}\nparallel_copies = 2\nloop_delay = 0.1\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn log(&self, name: &str) -> PathBuf {
        self.files.path().join(format!("{name}.log"))
    }

    /// What a worker has said.
    pub(super) fn said(&self, name: &str) -> String {
        if self.driver == Driver::Server && !self.others.contains(&name) {
            return self.server_said(name);
        }
        self.program_said(name)
    }

    /// What worker and copies have written into the server's log, and what they say now.
    fn server_said(&self, name: &str) -> String {
        const SAID: &str = "select w, s.cur_error
                              from londiste.worker_status() w, pgq_node.local_state s";
        let site = &self.sites[name];
        let log = site.cluster().log();
        // Lines of other databases are in it, too: processes begin with the name of theirs.
        let process = |line: &str| {
            let (_, rest) = line.split_once('[')?;
            Some(rest.split_once(']')?.0.to_owned())
        };
        let begins = format!(" starts in database \"{}\"", site.name());
        let begun =
            log.lines().filter(|line| line.contains("londiste ") && line.ends_with(&begins));
        let processes: Vec<String> = begun.filter_map(process).collect();
        assert!(!processes.is_empty(), "no process has said that it is in {}", site.name());
        let ours = |line: &&str| process(line).is_some_and(|pid| processes.contains(&pid));
        let now = rows(&mut self.connect(name), SAID);
        log.lines().filter(ours).map(str::to_owned).chain(now).collect::<Vec<_>>().join("\n")
    }

    /// What the program has said for a node.
    pub(super) fn program_said(&self, name: &str) -> String {
        std::fs::read_to_string(self.log(name)).unwrap_or_default()
    }

    /// Wait until a query on a node has this answer; the root ticks meanwhile.
    pub(super) fn await_answer(&self, root: &str, name: &str, sql: &str, answer: &str) {
        let (mut root, mut here) = (self.connect(root), self.connect(name));
        let (mut last, mut polls) = (String::new(), 0);
        let reached = wait_until(PATIENCE, || {
            // Not faster than workers take them. A root that is being demoted lays none.
            if polls % 25 == 0 {
                let _ = outcome(&mut root, "select pgq.ticker('q')");
            }
            polls += 1;
            last = rows(&mut here, sql).join("\n");
            last == answer
        });
        assert!(reached, "{name}: {sql}: {last}, not {answer}\n{}", self.said(name));
    }

    /// Wait until all tables of a node are in sync and it has all that the root had.
    pub(super) fn await_sync(&self, root: &str, name: &str) {
        const NOT_OK: &str = "select table_name, merge_state from londiste.get_table_list('q')
                               where local and merge_state is distinct from 'ok'";
        self.await_answer(root, name, NOT_OK, "");
        let tick = row(&mut self.connect(root), "select pgq.ticker('q')");
        let sql = format!("select completed_tick >= {tick} from pgq_node.get_worker_state('q')");
        self.await_answer(root, name, &sql, "t");
    }

    /// The rows of a query are the same on two nodes.
    pub(super) fn assert_same(&self, one: &str, other: &str, sql: &str) {
        let (here, there) =
            (rows(&mut self.connect(one), sql), rows(&mut self.connect(other), sql));
        if here != there {
            let missing: Vec<_> = here.iter().filter(|row| !there.contains(row)).take(5).collect();
            let extra: Vec<_> = there.iter().filter(|row| !here.contains(row)).take(5).collect();
            panic!(
                "{sql}: {one} has {} rows and {other} {}; missing {missing:?}, too many {extra:?}\n{}",
                here.len(),
                there.len(),
                self.said(other)
            );
        }
    }
}

/// A worker, which ends with the value.
pub(super) enum Worker {
    /// A process.
    Beside(Child),
    /// In this database of this server.
    Inside(&'static Cluster, String),
}

impl Worker {
    fn process(&mut self) -> &mut Child {
        match self {
            Self::Beside(child) => child,
            Self::Inside(..) => panic!("the worker is no process of ours"),
        }
    }

    fn id(&self) -> u32 {
        match self {
            Self::Beside(child) => child.id(),
            Self::Inside(..) => panic!("the worker is no process of ours"),
        }
    }

    /// Has it died?
    pub(super) fn is_dead(&mut self) -> bool {
        self.process().try_wait().unwrap().is_some()
    }

    /// Has it died of the step at which it was to die?
    pub(super) fn was_killed(&mut self) -> bool {
        self.process().try_wait().unwrap().is_some_and(|status| status.signal() == Some(9))
    }

    /// Send it a signal, by its name.
    pub(super) fn signal(&self, name: &str) {
        let pid = self.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// The most memory that it has had, in bytes.
    pub(super) fn peak_memory(&self) -> u64 {
        peak_memory(self.id())
    }

    /// Kill it, or stop it where it is inside the server.
    pub(super) fn kill(&mut self) {
        match self {
            Self::Beside(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Self::Inside(cluster, database) => {
                // A test may have dropped it.
                let Ok(mut client) = cluster.try_connect(database, "postgres") else { return };
                let _ = outcome(&mut client, "select londiste.stop_worker('q')");
                wait_until(PATIENCE, || outcome(&mut client, WORKS) == "0");
            }
        }
    }
}

/// Processes of replication in the database.
pub(super) const WORKS: &str = "select count(*) from pg_stat_activity
      where datname = current_database() and backend_type like 'londiste %'";

/// Wait until the process of that type in the client's database has gone on for so many seconds:
/// by its own turns, whatever we do meanwhile.
pub(super) fn await_turns(client: &mut Client, process: &str, seconds: u32) {
    let end = row(client, &format!("select clock_timestamp() + interval '{seconds} s'"));
    let has_turned = format!(
        "select count(*) from pg_stat_activity
          where datname = current_database() and backend_type = '{process}'
            and state_change > '{end}'"
    );
    assert!(wait_until(PATIENCE, || row(client, &has_turned) == "1"), "{process} stands still");
}

/// The most memory that a process has had, in bytes.
pub(super) fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A test that failed may have taken the database away.
        if !std::thread::panicking() || matches!(self, Self::Beside(_)) {
            self.kill();
        }
    }
}
