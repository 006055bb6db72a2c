//! Workers pause and go on, as the administrator says.

use pgq_client::Error;

use super::set::Set;
use crate::cli::{Exit, output};

const STATE: &str = "select paused::pg_catalog.text, uptodate::pg_catalog.text
                       from pgq_node.get_consumer_state($1, $2)
                      where paused is not null";

/// Have a consumer of a node pause, or go on, and wait until it does.
pub(super) fn consumer(
    set: &mut Set,
    node: &str,
    consumer: &str,
    paused: bool,
) -> anyhow::Result<()> {
    let queue = set.queue.clone();
    of_queue(set, &queue, node, consumer, paused)
}

/// The same of any queue of that node's database.
pub(super) fn of_queue(
    set: &mut Set,
    queue: &str,
    node: &str,
    consumer: &str,
    paused: bool,
) -> anyhow::Result<()> {
    let flag = paused.to_string();
    let values = [queue.into(), consumer.into(), flag.as_str().into()];
    let site = set.site(node)?;
    site.call("pgq_node.set_consumer_paused($1, $2, $3::pg_catalog.bool)", &values)?;
    let what = format!(
        "worker \"{consumer}\" of node \"{node}\" to {}: does it run?",
        if paused { "pause" } else { "go on" }
    );
    let patience = set.patience;
    let site = set.site(node)?;
    patience.until(&what, || {
        let rows = site.rows(STATE, &[queue.into(), consumer.into()])?;
        let Some(row) = rows.first() else {
            let what = format!("node \"{node}\" has no consumer \"{consumer}\"");
            return Err(Error::Absent(what).into());
        };
        if row.flag(0)? != paused {
            let what = format!("somebody else has changed whether \"{consumer}\" pauses");
            return Err(Error::Cascade(what).into());
        }
        Ok(row.flag(1)?.then_some(()))
    })
}

/// Have a node's worker pause, or go on.
pub(super) fn worker(set: &mut Set, node: &str, paused: bool) -> anyhow::Result<()> {
    let info = set.info(node)?;
    consumer(set, node, &info.worker_name, paused)
}

/// Have a node's worker pause, or go on, when it is there again.
pub(super) fn ask(set: &mut Set, node: &str, paused: bool) -> anyhow::Result<()> {
    let (queue, worker) = (set.queue.clone(), set.info(node)?.worker_name);
    let flag = paused.to_string();
    let values = [queue.as_str().into(), worker.as_str().into(), flag.as_str().into()];
    let function = "pgq_node.set_consumer_paused($1, $2, $3::pg_catalog.bool)";
    set.site(node)?.call(function, &values)?;
    Ok(())
}

/// `pause` and `resume`.
pub(super) fn here(set: &mut Set, paused: bool) -> anyhow::Result<Exit> {
    let own = set.own.clone();
    consumer(set, &own.node_name, &own.worker_name, paused)?;
    let does = if paused { "pauses" } else { "works" };
    output::line(&format!("worker \"{}\" of node \"{}\" {does}", own.worker_name, own.node_name))?;
    Ok(Exit::Ok)
}
