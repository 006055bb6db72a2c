//! Two servers, of which one replicates to the other, in each contender's way.

use std::process::{Child, Command, Stdio};

use pgq_tests::programs::stderr;
use pgq_tests::query::{row, rows, run};
use pgq_tests::{Cluster, PATIENCE, Tree, wait_until};
use postgres::Client;

use crate::processes::{cpu, server_cpu};
use crate::python::Programs;
use crate::tables::{DATABASE, TABLES};

/// Who replicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// PostgreSQL's logical replication, of the same programs as ours.
    Native,
    /// Our worker inside the server.
    Ours,
    /// Debian's Python londiste with upstream's extensions and pgqd.
    Python,
}

impl Contender {
    pub(crate) const ALL: [Self; 3] = [Self::Native, Self::Ours, Self::Python];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ours => "ours",
            Self::Python => "python",
        }
    }

    fn server(self) -> Cluster {
        let builder = match self {
            Self::Native => Cluster::builder().set("wal_level", "logical"),
            Self::Ours => Cluster::builder().set("shared_preload_libraries", "pgq"),
            Self::Python => Cluster::builder_on(Tree::Peer),
        };
        builder
            .set("shared_buffers", "512MB")
            .set("max_wal_size", "8GB")
            .set("checkpoint_timeout", "30min")
            .set("autovacuum", "off")
            .start()
    }
}

/// What has rows before anything is replicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The root, and they are to be copied.
    OnRoot,
    /// Both sides, the same.
    OnBoth,
}

/// Root and leaf.
pub(crate) struct Pair {
    contender: Contender,
    rows: Rows,
    pub(crate) root: Cluster,
    leaf: Cluster,
    python: Option<Programs>,
}

/// CPU nanoseconds so far.
#[derive(Clone, Copy)]
pub(crate) struct Costs {
    pub(crate) root: f64,
    /// With the worker, wherever that is.
    pub(crate) leaf: f64,
}

impl Pair {
    /// Servers with pgbench's tables, of which the root's are ready to be replicated.
    pub(crate) fn start(contender: Contender, scale: u32, rows: Rows) -> Self {
        let (root, leaf) = (contender.server(), contender.server());
        for server in [&root, &leaf] {
            run(&mut server.connect("postgres"), &format!("create database {DATABASE}"));
            let scale = scale.to_string();
            let steps = if rows == Rows::OnRoot && std::ptr::eq(server, &raw const leaf) {
                "dtp"
            } else {
                "dtgvp"
            };
            let mut pgbench = server.command("pgbench");
            let pgbench = pgbench.args(["-i", "-q", "-s", &scale, "-I", steps, DATABASE]);
            let output = pgbench.output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            let mut client = server.connect(DATABASE);
            run(&mut client, "alter table pgbench_history add id bigserial primary key");
            run(&mut client, "create table marker (n int primary key)");
            if contender != Contender::Native {
                run(&mut client, "create extension pgq");
                run(&mut client, "create extension pgq_node");
                run(&mut client, "create extension londiste");
            }
        }
        let mut pair = Self { contender, rows, root, leaf, python: None };
        match contender {
            Contender::Native => {
                let sql = format!("create publication bench for table {}", TABLES.join(", "));
                run(&mut pair.at_root(), &sql);
            }
            Contender::Ours => pair.make_nodes(),
            Contender::Python => pair.python = Some(Programs::start(&pair.root, &pair.leaf)),
        }
        pair
    }

    fn make_nodes(&self) {
        let [root, leaf] = [&self.root, &self.leaf].map(|server| server.conninfo(DATABASE));
        let [there, here] = [root, leaf].map(|text| text.replace('\'', "''"));
        let server = format!(
            "create server root foreign data wrapper londiste_fdw
                 options (host '{}', port '{}', dbname '{DATABASE}');
             create user mapping for current_user server root options (user 'postgres')",
            self.root.dir().display(),
            self.root.port()
        );
        let (mut root, mut leaf) = (self.at_root(), self.at_leaf());
        run(&mut leaf, &server);
        answer(&mut root, &format!("londiste.create_root('bench', 'root', '{there}')"));
        let call = format!("londiste.create_leaf('bench', 'leaf', '{here}', '{there}')");
        answer(&mut leaf, &call);
        for client in [&mut root, &mut leaf] {
            answer(client, "londiste.start_worker('bench', 2)");
        }
        for table in TABLES {
            answer(&mut root, &format!("londiste.local_add_table('bench', '{table}')"));
        }
        let heard = "select count(*) from londiste.table_info";
        await_row(&mut leaf, heard, &TABLES.len().to_string());
    }

    /// Have the leaf replicate the tables from now on.
    pub(crate) fn attach(&mut self) {
        let copy = self.rows == Rows::OnRoot;
        match (&self.python, self.contender) {
            (Some(python), _) => python.attach(copy),
            (None, Contender::Native) => {
                let sql = format!(
                    "create subscription bench connection '{}' publication bench
                       with (copy_data = {copy})",
                    self.root.conninfo(DATABASE).replace('\'', "''")
                );
                run(&mut self.at_leaf(), &sql);
            }
            (None, _) => {
                let options = if copy { "" } else { "expect_sync" };
                let mut leaf = self.at_leaf();
                for table in TABLES {
                    let call =
                        format!("londiste.local_add_table('bench', '{table}', '{{{options}}}')");
                    answer(&mut leaf, &call);
                }
            }
        }
    }

    /// Wait until all tables are in sync.
    pub(crate) fn await_sync(&self) {
        let sql = match self.contender {
            Contender::Native => "select count(*) from pg_subscription_rel where srsubstate = 'r'",
            _ => "select count(*) from londiste.table_info where local and merge_state = 'ok'",
        };
        await_row(&mut self.at_leaf(), sql, &TABLES.len().to_string());
    }

    /// Have nothing applied any more.
    pub(crate) fn stop(&mut self) {
        match (&mut self.python, self.contender) {
            (Some(python), _) => python.stop_leaf(),
            (None, Contender::Native) => panic!("nothing is applied yet"),
            (None, _) => answer(&mut self.at_leaf(), "londiste.stop_worker('bench')"),
        }
    }

    fn who(&self) -> &'static str {
        match self.contender {
            Contender::Native => "select pid from pg_stat_subscription where relid is null",
            _ => {
                "select pid from pg_stat_activity
                  where backend_type = 'londiste worker' and datname = current_database()"
            }
        }
    }

    /// The process that applies.
    pub(crate) fn applier(&self) -> u32 {
        if let Some(python) = &self.python {
            return python.leaf().unwrap();
        }
        let (mut leaf, mut pid) = (self.at_leaf(), None);
        let is_there = wait_until(PATIENCE, || {
            pid = rows(&mut leaf, self.who()).first().and_then(|pid| pid.parse().ok());
            pid.is_some()
        });
        assert!(is_there, "nobody applies");
        pid.unwrap()
    }

    /// Commit a row of the marker on the root.
    pub(crate) fn mark(&self, n: u32) {
        run(&mut self.at_root(), &format!("insert into marker values ({n})"));
    }

    /// Wait until the leaf shows a row of the marker.
    pub(crate) fn await_mark(&self, n: u32) {
        let sql = format!("select count(*) from marker where n = {n}");
        await_row(&mut self.at_leaf(), &sql, "1");
    }

    pub(crate) fn costs(&self) -> Costs {
        let (mut root, mut leaf) = (server_cpu(&self.root), server_cpu(&self.leaf));
        if let Some(python) = &self.python {
            root += python.of_root().map(cpu).iter().sum::<f64>();
            leaf += python.leaf().map_or(0.0, cpu);
        }
        Costs { root, leaf }
    }

    /// pgbench on the root.
    pub(crate) fn pgbench(&self, arguments: &[&str]) -> Command {
        let mut pgbench = self.root.command("pgbench");
        pgbench.arg("-n").args(arguments).arg(DATABASE);
        pgbench.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        pgbench
    }

    pub(crate) fn at_root(&self) -> Client {
        self.root.connect(DATABASE)
    }

    pub(crate) fn at_leaf(&self) -> Client {
        self.leaf.connect(DATABASE)
    }
}

/// A program to its end.
pub(crate) fn finish(mut child: Child) {
    assert!(child.wait().unwrap().success(), "pgbench failed");
}

fn answer(client: &mut Client, call: &str) {
    let answer = row(client, &format!("select * from {call}"));
    assert!(answer.starts_with("200|"), "{call}: {answer}");
}

fn await_row(client: &mut Client, sql: &str, answer: &str) {
    let mut found = String::new();
    let is_there = wait_until(PATIENCE, || {
        found = row(client, sql);
        found == answer
    });
    assert!(is_there, "{sql}: {found}, not {answer}");
}
