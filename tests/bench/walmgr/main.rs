//! `make bench`: walmgr beside pgBackRest, Barman and plain tools, in one run: clocks on the wall,
//! so run it on a quiet machine.
//!
//! `cargo bench -p pgq_tests --bench walmgr -- drain backup` runs only what is named: drain,
//! backup, sealed, two, start. Contestants run in turn, each round gives one ratio, and medians are
//! printed.
//! Everything is synced before each measurement, but the disk is what it is: where its speed
//! matters, only ratios of the same round mean something.
#![expect(clippy::unwrap_used, reason = "in a benchmark a failed step ends the run")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]
#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "counts become figures to print"
)]

mod archiver;
mod backup;
mod costs;
mod drain;
mod peers;
mod start;
mod table;

use std::fs;

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let suites: [(&str, fn()); 5] = [
        ("drain", drain::run),
        ("backup", backup::run),
        ("sealed", || costs::run(&costs::ENCRYPTION)),
        ("two", || costs::run(&costs::SECOND_REPOSITORY)),
        ("start", start::run),
    ];
    if !suites.iter().any(|(name, _)| is_wanted(name)) {
        return;
    }
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!(
        "{} beside Barman {}; load average at the start: {}",
        peers::backrest_version(),
        peers::barman_version(),
        load.split(' ').take(2).collect::<Vec<_>>().join(" ")
    );
    for (name, run) in suites {
        if is_wanted(name) {
            run();
            println!();
        }
    }
}
