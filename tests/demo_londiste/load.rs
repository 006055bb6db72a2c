//! pgbench, at whichever node takes its writes.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use pgq_tests::{Cluster, PATIENCE, wait_until};

use crate::node::Node;

/// Transactions a second, if the root can.
const RATE: &str = "200";

/// pgbench in a loop: when one node refuses it, it goes on at the other. A transaction counts when
/// its commit was acknowledged.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<[AtomicU64; 2]>,
    thread: JoinHandle<()>,
}

impl Load {
    /// Begin, at the first of the two nodes.
    pub(crate) fn start(servers: &[Cluster; 2], nodes: [&Node<'_>; 2]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let mut programs = [0, 1].map(|which| {
            let mut pgbench = servers[which].command("pgbench");
            pgbench.args(["-n", "-c", "2", "-T", "1", "-R", RATE, nodes[which].name()]);
            pgbench.stdin(Stdio::null());
            pgbench
        });
        let thread = std::thread::spawn({
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            move || {
                let mut which = 0;
                while !stop.load(Ordering::SeqCst) {
                    let (count, is_refused) = slice(&mut programs[which]);
                    acknowledged[which].fetch_add(count, Ordering::SeqCst);
                    if is_refused {
                        which = 1 - which;
                    }
                }
            }
        });
        Self { stop, acknowledged, thread }
    }

    /// Wait until a node has acknowledged a transaction.
    pub(crate) fn await_commits_at(&self, node: usize) {
        let has_some = || self.acknowledged[node].load(Ordering::SeqCst) > 0;
        assert!(wait_until(PATIENCE, has_some), "no transaction");
    }

    /// Stop; how many transactions each node has acknowledged.
    pub(crate) fn finish(self) -> [u64; 2] {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        [0, 1].map(|node| self.acknowledged[node].load(Ordering::SeqCst))
    }
}

/// One run: acknowledged transactions, and whether it was refused before its end.
fn slice(pgbench: &mut Command) -> (u64, bool) {
    const COUNT: &str = "number of transactions actually processed: ";
    let output = pgbench.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let count = said
        .lines()
        .find_map(|line| line.strip_prefix(COUNT))
        .map_or(0, |count| count.parse().unwrap_or_else(|_| panic!("pgbench counts \"{count}\"")));
    (count, !output.status.success())
}
