//! A node's worker: its process.

use std::time::Duration;

use pgq_pg::{activity, process};
use pgq_replica::cascade::drive::{self, Done, Pace};

use super::host::Host;
use super::order::Order;
use super::outage::Outage;
use super::right::Right;
use super::session;
use super::wish::{begin, wish_or_end};
use crate::settings;
use crate::shared::Shared;

/// Between looks at a provider that cannot be waited for, and while paused.
const LOOP_DELAY: Duration = Duration::from_millis(500);

/// Run until told to end, or until an error that is no step's.
pub(crate) fn main(_argument: usize) {
    process::accept_signals();
    let Some(order) = Order::of_bytes(&process::my_extra()) else { process::exit(1) };
    let Some(shared) = Shared::get() else { process::exit(1) };
    if !shared.header.cascades.take(settings::max_cascade_workers()) {
        process::exit(0);
    }
    process::at_exit(leave);
    let mut here = begin(order);
    let (queue, parallel_copies) = wish_or_end(&mut here, order);
    let title = format!("londiste worker: {queue}");
    session::name(&title);
    let pace = Pace { parallel_copies, loop_delay: LOOP_DELAY };
    let mut host = Host::new(order, &queue, title, Some(Right::new(&queue)));
    let mut worker = drive::Worker::new(&queue, pace);
    let mut outage = Outage::new(&queue);
    loop {
        process::check_interrupts();
        host.look_aside();
        activity::busy(&format!("replicate {queue}"));
        match worker.step(&mut host, &mut here) {
            Ok(Done::Step) => {}
            Ok(Done::Round) => {
                host.has_heard();
                outage.over(&mut here, worker.name());
            }
            Err(problem) => {
                worker.forget();
                host.has_failed(&problem);
                outage.failed(&mut host, &mut here, worker.name(), &problem);
            }
        }
    }
}

// Copies go on: whoever ends all of them does so by himself.
fn leave() {
    if let Some(shared) = Shared::get() {
        shared.header.cascades.leave();
    }
}
