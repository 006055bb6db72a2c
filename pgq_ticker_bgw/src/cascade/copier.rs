//! The process that copies one table.

use pgq_pg::{activity, process, report};
use pgq_replica::cascade::drive::{self, Went};
use pgq_replica::cascade::node::Node;
use pgq_replica::{Row, Session};

use super::here::Here;
use super::host::Host;
use super::order::Order;
use super::outage::Outage;
use super::problem::Problem;
use super::right;
use super::session;
use super::wish::{begin, wish_or_end};
use crate::settings;
use crate::shared::Shared;

/// Run until the table is handed over, or told to end. `argument` is the table's number.
pub(crate) fn main(argument: usize) {
    process::accept_signals();
    let Some(order) = Order::of_bytes(&process::my_extra()) else { process::exit(1) };
    let Some(shared) = Shared::get() else { process::exit(1) };
    if !shared.header.copies.take(settings::max_cascade_workers()) {
        process::exit(0);
    }
    process::at_exit(leave);
    let mut here = begin(order);
    let (queue, _) = wish_or_end(&mut here, order);
    let (table, worker) = match names(&mut here, &queue, argument) {
        Ok(Some(names)) => names,
        Ok(None) => process::exit(0),
        Err(problem) => {
            report::warning(&format!("londiste cannot copy a table of \"{queue}\": {problem}"));
            process::exit(1)
        }
    };
    let mut copier = drive::Copier::new(&queue, &worker, &table);
    // The pgq worker finds the copies of a worker by this name.
    session::name(&format!("londiste copy {}: {}", order.number, copier.name()));
    match right::take_copy(&mut here, copier.name()) {
        Ok(true) => {}
        Ok(false) => process::exit(0),
        Err(problem) => {
            report::warning(&format!("londiste cannot copy a table of \"{queue}\": {problem}"));
            process::exit(1)
        }
    }
    let mut host = Host::new(order, &queue, format!("londiste copy: {}", copier.name()), None);
    let mut outage = Outage::new(&queue);
    loop {
        process::check_interrupts();
        host.look_aside();
        host.look_for_wish(&mut here);
        activity::busy(&format!("copy {table}"));
        match copier.step(&mut host, &mut here) {
            Ok(Went::On) => {}
            Ok(Went::Well) => {
                host.has_heard();
                outage.over(&mut here, Some(copier.name()));
            }
            Ok(Went::Away) => {
                outage.over(&mut here, Some(copier.name()));
                process::exit(0)
            }
            Err(problem) => {
                copier.forget();
                host.has_failed(&problem);
                outage.failed(&mut host, &mut here, Some(copier.name()), &problem);
            }
        }
    }
}

fn leave() {
    if let Some(shared) = Shared::get() {
        shared.header.copies.leave();
    }
}

/// The names of the table and of the node's worker; none when the table is gone.
fn names(here: &mut Here, queue: &str, number: usize) -> Result<Option<(String, String)>, Problem> {
    let number = number.to_string();
    let rows: Vec<Row> = here.rows(
        "select table_name
           from londiste.table_info
          where queue_name operator(pg_catalog.=) $1
            and nr operator(pg_catalog.=) $2::int",
        &[queue.into(), number.as_str().into()],
    )?;
    let Some(row) = rows.first() else { return Ok(None) };
    let node = Node::read(here, queue)?;
    Ok(Some((row.text(0)?.to_owned(), node.worker)))
}
