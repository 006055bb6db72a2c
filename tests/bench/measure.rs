//! CPU time of backends, and medians.

use std::fs;

use postgres::Client;

/// A connection whose backend's CPU time can be read.
pub(crate) struct Measured {
    pub(crate) client: Client,
    pid: i32,
}

impl Measured {
    pub(crate) fn new(mut client: Client) -> Self {
        let pid = client.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
        Self { client, pid }
    }

    /// CPU nanoseconds the backend has used so far (`/proc/PID/schedstat`).
    fn cpu(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/schedstat", self.pid)).unwrap();
        stat.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// CPU nanoseconds that the statements of `work` cost.
    pub(crate) fn cost(&mut self, work: impl FnOnce(&mut Client)) -> f64 {
        let before = self.cpu();
        work(&mut self.client);
        (self.cpu() - before) as f64
    }
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// One variant's cost in each round.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) costs: Vec<f64>,
}

impl Series {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, costs: Vec::new() }
    }

    /// How many times cheaper than `other`: the median of the rounds' ratios.
    pub(crate) fn times_cheaper_than(&self, other: &Self) -> f64 {
        let ratios: Vec<f64> =
            self.costs.iter().zip(&other.costs).map(|(own, other)| other / own).collect();
        median(&ratios)
    }
}
