//! What processes cost: CPU time and memory.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pgq_tests::Cluster;

/// Nanoseconds of a tick of the clock that counts the time of children that have ended.
const TICK: f64 = 1e7;

/// CPU nanoseconds that a process has used, without its children. 0: it is gone.
pub(crate) fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    stat.split_whitespace().next().map_or(0.0, |first| first.parse().unwrap())
}

/// CPU nanoseconds that all processes of a server have used since its start.
pub(crate) fn server_cpu(server: &Cluster) -> f64 {
    let postmaster = server.postmaster_pid();
    let ended = || [13, 14].map(|field| stat(postmaster, field).unwrap_or_default());
    loop {
        let before = ended();
        let pids = fs::read_dir("/proc").unwrap();
        let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let children = pids.filter(|pid| stat(*pid, 1) == Some(postmaster.into()));
        let alive = cpu(postmaster) + children.map(cpu).sum::<f64>();
        // One that ends meanwhile would count on neither side.
        if ended() == before {
            return alive + before.iter().sum::<u64>() as f64 * TICK;
        }
    }
}

/// A field of /proc/PID/stat, counted after the command's name.
fn stat(pid: u32, field: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(field)?.parse().ok()
}

/// Memory of a process's own, in MB, without what it shares.
fn memory(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB"))
        .map_or(0.0, |kb| kb.trim().parse::<f64>().unwrap() / 1024.0)
}

/// Looks at a process's memory until it is asked for the peak.
pub(crate) struct Peak {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<f64>,
}

impl Peak {
    pub(crate) fn of(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let before = memory(pid);
            let mut peak = before;
            while !stopped.load(Ordering::SeqCst) {
                peak = peak.max(memory(pid));
                std::thread::sleep(Duration::from_millis(5));
            }
            peak - before
        });
        Self { stop, thread }
    }

    /// How much more it had at its peak than at the beginning, in MB.
    pub(crate) fn grown(self) -> f64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}
