//! `make bench BENCH=replication`: our worker inside the server, PostgreSQL's own logical
//! replication and Debian's Python londiste, in one run. Clocks on the wall: run it on a quiet
//! machine.
//!
//! Each part has two servers of its own for each contender, with default settings but for memory,
//! checkpoints and autovacuum, which would hit one of them by chance. `BENCH=replication-drain`
//! runs a part alone: lag, drain, copy, large, capture. `BENCH_ONLY="ours native"` leaves
//! contenders out, `BENCH_ROUNDS=3` takes medians of so many rounds, `BENCH_SHRINK=10` divides the
//! counts: to try it out.
#![expect(clippy::unwrap_used, clippy::panic, reason = "in a benchmark a failed step ends the run")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]
#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and nanoseconds become figures to print"
)]

mod capture;
mod copy;
mod drain;
mod lag;
mod large;
mod pair;
mod processes;
mod python;
mod sheet;
mod tables;

use std::fs;

use pair::Contender;

type Part = fn(&Scope);

/// Settings of a run.
pub(crate) struct Scope {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) rounds: u32,
    shrink: u32,
}

impl Scope {
    fn of_environment() -> Self {
        let only = std::env::var("BENCH_ONLY").unwrap_or_default();
        let names: Vec<&str> = only.split_whitespace().collect();
        let unknown = names.iter().find(|name| Contender::ALL.iter().all(|c| c.name() != **name));
        assert!(unknown.is_none(), "BENCH_ONLY: no contender \"{}\"", unknown.unwrap());
        let is_wanted = |one: &Contender| names.is_empty() || names.contains(&one.name());
        Self {
            contenders: Contender::ALL.into_iter().filter(is_wanted).collect(),
            rounds: setting("BENCH_ROUNDS"),
            shrink: setting("BENCH_SHRINK"),
        }
    }

    /// A count, or less of it for a try.
    pub(crate) fn count(&self, full: u32) -> u32 {
        (full / self.shrink).max(1)
    }
}

/// A number from the environment; 1 unless it is set.
fn setting(name: &str) -> u32 {
    let Ok(text) = std::env::var(name) else { return 1 };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.unwrap_or_else(|| panic!("{name} is \"{text}\", and not a number above 0"))
}

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == "replication" || w == name);
    let parts: [(&str, Part); 5] = [
        ("replication-lag", lag::run),
        ("replication-drain", drain::run),
        ("replication-copy", copy::run),
        ("replication-large", large::run),
        ("replication-capture", capture::run),
    ];
    if !parts.iter().any(|(name, _)| is_wanted(name)) {
        return;
    }
    let scope = Scope::of_environment();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!(
        "Replication; rounds: {}; load average at the start: {}",
        scope.rounds,
        load.split(' ').take(2).collect::<Vec<_>>().join(" ")
    );
    for (name, run) in parts {
        if is_wanted(name) {
            run(&scope);
            println!();
        }
    }
}
