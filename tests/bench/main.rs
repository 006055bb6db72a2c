//! `make bench`: what our PgQ costs next to upstream's and next to raw SQL, in one run.
//!
//! The machine may be small and noisy, so the figures are ratios of backend CPU time: variants run
//! in turn, each round gives one ratio, and the median is printed. `cargo bench -p pgq_tests --
//! insert idle` runs only what is named.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a benchmark a failed step ends the run"
)]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]
#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "nanoseconds become figures to print"
)]

mod api;
mod capture;
mod client;
mod consume;
mod idle;
mod insert;
mod measure;
mod queues;
mod servers;

use std::time::Instant;

type Suite = fn(&servers::Servers);

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let suites: [(&str, Suite); 8] = [
        ("insert", insert::in_one_transaction),
        ("commit", insert::one_per_transaction),
        ("consume", consume::run),
        ("idle", idle::run),
        ("capture", capture::run),
        ("client", client::run),
        ("api", api::run),
        ("queues", queues::run),
    ];
    let mut is_first = true;
    for (name, run) in suites.into_iter().filter(|(name, _)| is_wanted(name)) {
        let start = Instant::now();
        // Each part has servers of its own: what one leaves behind, others would have to drag on.
        let servers = servers::Servers::start();
        if is_first {
            println!("{}\n", servers.versions());
            is_first = false;
        }
        println!("[{name}]");
        run(&servers);
        println!("[{name}: {:.0} s]\n", start.elapsed().as_secs_f64());
    }
}
