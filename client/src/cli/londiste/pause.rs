//! Workers pause and go on, as the administrator says, or while a command changes their node.

use pgq_client::Error;
use pgq_replica::Argument;
use pgq_replica::cascade::attributes::Attributes;

use super::set::Set;
use super::site::{Info, Site};
use crate::cli::{Exit, output};

/// The node's attribute that says which command its worker pauses for. Without it an administrator
/// has paused it, and nobody else lets it go on.
const HELD: &str = "paused_by";

const STATE: &str = "select paused::pg_catalog.text, uptodate::pg_catalog.text
                       from pgq_node.get_consumer_state($1, $2)
                      where paused is not null";

/// Which command the node's worker pauses for.
fn held(info: &Info) -> anyhow::Result<Option<Attributes>> {
    let attributes = Attributes::parse(info.node_attrs.as_deref().unwrap_or_default())?;
    Ok(attributes.get(HELD).is_some().then_some(attributes))
}

/// What the node here is; it must be one.
fn own(site: &mut Site, queue: &str) -> anyhow::Result<Info> {
    let name = site.name().to_owned();
    let none = || Error::Absent(format!("node \"{name}\" is none of queue \"{queue}\""));
    Ok(site.info(queue)?.ok_or_else(none)?)
}

/// Do something in a transaction.
fn at_once<T>(
    site: &mut Site,
    act: impl FnOnce(&mut Site) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    site.run("begin")?;
    let acted = act(site).and_then(|value| site.run("commit").map(|()| value));
    if acted.is_err() {
        site.roll_back();
    }
    acted
}

/// Set whether a worker pauses; true when that is new.
fn set_paused(site: &mut Site, queue: &str, worker: &str, paused: bool) -> anyhow::Result<bool> {
    const NEW: i64 = 200;
    let flag = paused.to_string();
    let values = [queue.into(), worker.into(), flag.as_str().into()];
    let function = "pgq_node.set_consumer_paused($1, $2, $3::pg_catalog.bool)";
    Ok(site.call(function, &values)?.code == NEW)
}

fn set_attributes(site: &mut Site, queue: &str, attributes: &Attributes) -> anyhow::Result<()> {
    let text = attributes.encode();
    let text = Argument::Text((!text.is_empty()).then_some(text.as_str()));
    site.call("pgq_node.set_node_attrs($1, $2)", &[queue.into(), text])?;
    Ok(())
}

/// Have a node's worker pause for a command, and note that; one that pauses already does so for
/// whom it did.
fn take(site: &mut Site, queue: &str, command: &str) -> anyhow::Result<()> {
    at_once(site, |site| {
        let worker = own(site, queue)?.worker_name;
        if set_paused(site, queue, &worker, true)? {
            let info = own(site, queue)?;
            let mut attributes = Attributes::parse(info.node_attrs.as_deref().unwrap_or_default())?;
            attributes.set(HELD, command);
            set_attributes(site, queue, &attributes)?;
        }
        Ok(())
    })
}

/// Have a node's worker go on that pauses for a command. False when it does not pause for one.
fn give(site: &mut Site, queue: &str) -> anyhow::Result<bool> {
    if held(&own(site, queue)?)?.is_none() {
        return Ok(false);
    }
    at_once(site, |site| {
        let worker = own(site, queue)?.worker_name;
        set_paused(site, queue, &worker, false)?;
        unmark(site, queue)
    })
}

/// Whoever the worker has paused for, from now on the administrator says.
fn unmark(site: &mut Site, queue: &str) -> anyhow::Result<bool> {
    let Some(mut attributes) = held(&own(site, queue)?)? else { return Ok(false) };
    attributes.remove(HELD);
    set_attributes(site, queue, &attributes)?;
    Ok(true)
}

/// Wait until a node's worker has seen whether it pauses.
fn agreed(set: &mut Set, node: &str, worker: &str, paused: bool) -> anyhow::Result<()> {
    let queue = set.queue.clone();
    let what = format!(
        "worker \"{worker}\" of node \"{node}\" to {}: does it run?",
        if paused { "pause" } else { "go on" }
    );
    let patience = set.patience.clone();
    let site = set.site(node)?;
    patience.until(&what, || {
        let rows = site.rows(STATE, &[queue.as_str().into(), worker.into()])?;
        let Some(row) = rows.first() else {
            let what = format!("node \"{node}\" has no consumer \"{worker}\"");
            return Err(Error::Absent(what).into());
        };
        if row.flag(0)? != paused {
            let what = format!("somebody else has changed whether \"{worker}\" pauses");
            return Err(Error::Cascade(what).into());
        }
        Ok(row.flag(1)?.then_some(()))
    })
}

/// Have a node's worker pause while a command changes the node, and wait until it does. It goes on
/// again when the command ends before [`let_go`]. One that an administrator has paused stays so.
pub(super) fn hold(set: &mut Set, node: &str, command: &str) -> anyhow::Result<()> {
    let (queue, worker) = (set.queue.clone(), set.info(node)?.worker_name);
    let of = queue.clone();
    set.put_back_on(
        node,
        format!("worker \"{worker}\" of node \"{node}\" goes on"),
        format!("let worker \"{worker}\" go on: resume"),
        move |site| give(site, &of),
    )?;
    take(set.site(node)?, &queue, command)?;
    agreed(set, node, &worker, true)
}

/// Have a node's worker go on that was to pause for a command, and wait until it does. One that an
/// administrator has paused is named.
pub(super) fn let_go(set: &mut Set, node: &str) -> anyhow::Result<()> {
    let queue = set.queue.clone();
    let goes_on = give(set.site(node)?, &queue)?;
    let info = set.info(node)?;
    match (goes_on, info.worker_paused) {
        (true, _) => agreed(set, node, &info.worker_name, false),
        (false, Some(true)) => {
            let worker = &info.worker_name;
            log::warn!("worker \"{worker}\" of node \"{node}\" is paused, as before; hint: resume");
            Ok(())
        }
        (false, _) => Ok(()),
    }
}

/// `pause` and `resume`.
pub(super) fn here(set: &mut Set, paused: bool) -> anyhow::Result<Exit> {
    let (queue, own) = (set.queue.clone(), set.own.clone());
    let (node, worker) = (own.node_name.as_str(), own.worker_name.as_str());
    at_once(&mut set.here, |site| {
        set_paused(site, &queue, worker, paused)?;
        unmark(site, &queue)
    })?;
    agreed(set, node, worker, paused)?;
    let does = if paused { "pauses" } else { "works" };
    output::line(&format!("worker \"{worker}\" of node \"{node}\" {does}"))?;
    Ok(Exit::Ok)
}
