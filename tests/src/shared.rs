//! A server that all tests of one process share, and databases in it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use postgres::Client;

use crate::cluster::Cluster;
use crate::tree::Tree;

/// A database of the test's own in the shared server. It is dropped with the value.
#[derive(Debug)]
pub struct Scratch {
    cluster: &'static Cluster,
    name: String,
}

impl Scratch {
    /// The server the database is in. Other tests use it too: no restarts, no settings.
    pub fn cluster(&self) -> &'static Cluster {
        self.cluster
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connect as superuser.
    pub fn connect(&self) -> Client {
        self.cluster.connect(&self.name)
    }

    /// Connect as a role.
    pub fn connect_as(&self, user: &str) -> Client {
        self.cluster.connect_as(&self.name, user)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let dropped = self.cluster.try_connect("postgres", "postgres").and_then(|mut client| {
            client.batch_execute(&format!("drop database \"{}\" with (force)", self.name))
        });
        if let Err(error) = dropped {
            // A panic here would hide the test's own failure; the whole server goes away with the
            // process anyway.
            let _ = error;
        }
    }
}

/// An empty database with extension `pgq` created in it, in the shared server of our own tree.
pub fn scratch_database() -> Scratch {
    let scratch = scratch_database_on(Tree::Ours);
    scratch.connect().batch_execute("create extension pgq").expect("create extension pgq");
    scratch
}

/// A database with extension `pgq` in it, in a shared server that has `pgq` in
/// `shared_preload_libraries`: a worker comes by itself.
///
/// The server's periods are so long that nothing happens unless somebody waits for it or asks for
/// it.
pub fn scratch_database_with_worker() -> Scratch {
    static WORKERS: OnceLock<Cluster> = OnceLock::new();
    let cluster = WORKERS.get_or_init(|| {
        Cluster::builder()
            .set("shared_preload_libraries", "pgq")
            .set("pgq.ticker_period", "1h")
            .set("pgq.maint_period", "1h")
            .set("pgq.max_workers", 40)
            .set("max_worker_processes", 48)
            .set("max_connections", 200)
            .set("max_prepared_transactions", 10)
            .set("fsync", "off")
            .start()
    });
    let scratch = scratch_in(cluster);
    scratch.connect().batch_execute("create extension pgq").expect("create extension pgq");
    scratch
}

/// An empty database in a shared server that has `pgq` in `shared_preload_libraries`, and room for
/// workers of replication.
pub fn scratch_database_for_nodes() -> Scratch {
    static NODES: OnceLock<Cluster> = OnceLock::new();
    scratch_in(NODES.get_or_init(|| {
        Cluster::builder()
            .set("shared_preload_libraries", "pgq")
            .set("pgq.ticker_period", "1h")
            .set("pgq.maint_period", "1h")
            .set("pgq.max_workers", 40)
            .set("pgq.max_cascade_workers", 60)
            .set("max_worker_processes", 200)
            .set("max_connections", 300)
            .set("max_prepared_transactions", 10)
            .set("fsync", "off")
            .start()
    }))
}

/// An empty database in the shared server of the given tree, without any extension.
pub fn scratch_database_on(tree: Tree) -> Scratch {
    static OURS: OnceLock<Cluster> = OnceLock::new();
    static PEER: OnceLock<Cluster> = OnceLock::new();

    let server = match tree {
        Tree::Ours => &OURS,
        Tree::Peer => &PEER,
    };
    let cluster = server.get_or_init(|| {
        let cluster = Cluster::builder_on(tree)
            .set("max_connections", 200)
            .set("max_prepared_transactions", 10)
            .set("fsync", "off")
            .start();
        if tree == Tree::Peer {
            // Upstream's script makes the server's roles and fails when another session does so at
            // the same moment.
            cluster
                .connect("postgres")
                .batch_execute("create extension pgq; drop extension pgq")
                .expect("let upstream's extension make its roles");
        }
        cluster
    });
    scratch_in(cluster)
}

fn scratch_in(cluster: &'static Cluster) -> Scratch {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    // Two databases cannot be copied from one template at the same time.
    static COPYING: Mutex<()> = Mutex::new(());

    let name = format!("scratch_{}", SERIAL.fetch_add(1, Ordering::Relaxed));
    let _copying = COPYING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    cluster
        .connect("postgres")
        .batch_execute(&format!("create database \"{name}\" template template0"))
        .expect("create the scratch database");
    Scratch { cluster, name }
}
