//! A database that is a node.

use std::fs;
use std::process::Stdio;

use pgq_tests::Cluster;
use pgq_tests::programs::{pgq, stderr};
use pgq_tests::query::{row, run};
use postgres::Client;

/// A database called like its node, with the extensions.
pub(crate) struct Node<'a> {
    cluster: &'a Cluster,
    name: &'static str,
}

impl<'a> Node<'a> {
    pub(crate) fn new(cluster: &'a Cluster, name: &'static str) -> Self {
        run(&mut cluster.connect("postgres"), &format!("create database {name}"));
        run(&mut cluster.connect(name), "create extension londiste cascade");
        Self { cluster, name }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn location(&self) -> String {
        self.cluster.conninfo(self.name)
    }

    pub(crate) fn connect(&self) -> Client {
        self.cluster.connect(self.name)
    }

    pub(crate) fn sql(&self, sql: &str) {
        run(&mut self.connect(), sql);
    }

    /// Run pgbench to its end.
    pub(crate) fn pgbench(&self, arguments: &[&str]) {
        let mut pgbench = self.cluster.command("pgbench");
        let output = pgbench.args(arguments).arg(self.name).output().unwrap();
        assert!(output.status.success(), "pgbench {arguments:?}: {}", stderr(&output));
    }

    /// How this node's worker reaches the others, whoever is its provider.
    pub(crate) fn name_servers(&self, nodes: &[&Self]) {
        for node in nodes {
            self.sql(&format!(
                "create server {0} foreign data wrapper londiste_fdw
                     options (host '{1}', port '{2}', dbname '{0}');
                 create user mapping for current_user server {0} options (user 'postgres')",
                node.name,
                node.cluster.dir().display(),
                node.cluster.port()
            ));
        }
    }

    /// Call a function that answers with `ret_code` and `ret_note`.
    pub(crate) fn answers(&self, call: &str) {
        let location = format!("'{}'", self.location().replace('\'', "''"));
        let sql = format!("select * from {}", call.replace("$location", &location));
        let answer = row(&mut self.connect(), &sql);
        assert!(answer.starts_with("200|"), "{}: {call}: {answer}", self.name);
    }

    /// Attach tables, and the sequence of the history's key, as soon as the node has heard of them.
    pub(crate) fn attach(&self, tables: &[&str]) {
        let is_root = row(&mut self.connect(), IS_ROOT) == "t";
        for table in tables {
            if !is_root {
                let heard = format!(
                    "select count(*) from londiste.get_table_list('shop')
                      where table_name = 'public.{table}'"
                );
                self.wait_for(table, &heard, "1");
            }
            self.answers(&format!("londiste.local_add_table('shop', 'public.{table}')"));
        }
        const SEQUENCE: &str = "public.pgbench_history_id_seq";
        if !is_root {
            let heard = format!(
                "select count(*) from londiste.get_seq_list('shop') where seq_name = '{SEQUENCE}'"
            );
            self.wait_for(SEQUENCE, &heard, "1");
        }
        self.answers(&format!("londiste.local_add_seq('shop', '{SEQUENCE}')"));
    }

    /// Wait until a query has this answer.
    pub(crate) fn wait_for(&self, what: &str, sql: &str, answer: &str) {
        crate::wait(self, what, sql, answer);
    }

    /// Run a command of `pgq londiste` for this node.
    pub(crate) fn command(&self, arguments: &[&str]) {
        let ini = self.cluster.dir().join(format!("{}.ini", self.name));
        let text = format!(
            "[londiste]\njob_name = {}_worker\ndb = {}\nqueue_name = shop\n",
            self.name,
            self.location()
        );
        fs::write(&ini, text).unwrap();
        let mut command = pgq(&["londiste", ini.to_str().unwrap()]);
        let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "pgq londiste {arguments:?}: {}", stderr(&output));
    }
}

const IS_ROOT: &str = "select node_type = 'root' from pgq_node.get_node_info('shop')";
