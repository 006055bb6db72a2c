//! The two servers: ours and upstream's, alike in everything else.

use pgq_tests::{Cluster, Tree};
use postgres::Client;

pub(crate) struct Servers {
    pub(crate) ours: Cluster,
    pub(crate) peer: Cluster,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let start = |tree| {
            // Default settings, but for what would come at its own time and hit one of the two by
            // chance: checkpoints, autovacuum, and writing out what does not fit into memory. One
            // part makes a thousand queues at once.
            let cluster = Cluster::builder_on(tree)
                .set("shared_buffers", "512MB")
                .set("max_wal_size", "8GB")
                .set("autovacuum", "off")
                .set("max_locks_per_transaction", 2000)
                .start();
            cluster
                .connect("postgres")
                .batch_execute("create extension pgq")
                .expect("create extension pgq");
            cluster
        };
        Self { ours: start(Tree::Ours), peer: start(Tree::Peer) }
    }

    pub(crate) fn versions(&self) -> String {
        let version = |cluster: &Cluster| -> String {
            cluster.connect("postgres").query_one("select pgq.version()", &[]).unwrap().get(0)
        };
        let server: String =
            self.ours.connect("postgres").query_one("select version()", &[]).unwrap().get(0);
        format!(
            "{server}\nours: pgq {}; upstream: pgq {}",
            version(&self.ours),
            version(&self.peer)
        )
    }

    /// A connection to each, ours first.
    pub(crate) fn connect(&self) -> (Client, Client) {
        (self.ours.connect("postgres"), self.peer.connect("postgres"))
    }
}
