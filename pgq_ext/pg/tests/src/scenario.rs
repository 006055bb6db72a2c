//! Tests that want a process of their own, as they begin and end transactions: they run in a
//! background worker, as a role.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use pgq_pg::process::{self, Kind, Started};

use crate::{server, table};

const WORKER: Kind = Kind {
    library: c"pgq_pg_tests",
    name: c"fence scenario",
    entry: c"fence_scenario_main",
    restart: None,
};

pgq_pg::worker_mains! {
    /// Main function of a worker that runs a test.
    fence_scenario_main => main;
}

/// Where a worker says what went wrong.
const REASON: &str = "fence_scenario";

/// All of them, as modules have them. A worker is told the number of one.
static ALL: OnceLock<Vec<Scenarios>> = OnceLock::new();

/// Those of a module.
type Scenarios = &'static [fn()];

/// To be called once, when the library is loaded.
pub(crate) fn register(modules: Vec<Scenarios>) {
    assert!(ALL.set(modules).is_ok(), "called once");
}

fn all() -> impl Iterator<Item = fn()> {
    ALL.get().into_iter().flatten().copied().flatten().copied()
}

/// Run a scenario as this role and wait for its end.
pub(crate) fn run_as(role: u32, scenario: fn()) {
    let worker = start_as(role, scenario);
    await_pass(&worker);
}

/// The same as a role without any rights, which this scenario makes where it is missing.
pub(crate) fn run_as_nobody(make: fn(), scenario: fn()) {
    run(make);
    let role = table::number("select oid::bigint from pg_roles where rolname = 'fence_nobody'");
    run_as(u32::try_from(role).expect("an oid"), scenario);
}

/// Start one.
pub(crate) fn start_as(role: u32, scenario: fn()) -> Started {
    let number = all().position(|other| std::ptr::fn_addr_eq(other, scenario));
    let number = number.expect("it is in the list");
    let extra = [process::my_database().to_ne_bytes(), role.to_ne_bytes()].concat();
    server::passed().store(0, Ordering::SeqCst);
    server::port().store(0, Ordering::SeqCst);
    let worker = process::start_dynamic(WORKER, "fence scenario: löwe", number, &extra);
    worker.expect("a free slot")
}

/// Wait until it has ended, and well.
pub(crate) fn await_pass(worker: &Started) {
    server::await_end(worker);
    let has_passed = server::passed().load(Ordering::SeqCst) == 1;
    assert!(has_passed, "{}", std::fs::read_to_string(REASON).unwrap_or_default());
}

/// The same as the bootstrap superuser.
pub(crate) fn run(scenario: fn()) {
    run_as(10, scenario);
}

fn main(number: usize) {
    process::accept_signals();
    let extra = process::my_extra();
    let word = |from: usize| {
        let bytes = extra.get(from..from + 4).and_then(|bytes| bytes.try_into().ok());
        u32::from_ne_bytes(bytes.expect("a worker has 128 bytes"))
    };
    process::connect_as(word(0), word(4));
    let scenario = all().nth(number).expect("a scenario of that number");
    match catch_unwind(AssertUnwindSafe(scenario)) {
        Ok(()) => server::passed().store(1, Ordering::SeqCst),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            // In the server's own directory, where the test finds it.
            std::fs::write(REASON, text.unwrap_or_default()).expect("the server may write");
        }
    }
    process::exit(0);
}
