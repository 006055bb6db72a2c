//! A node reads from another node than before.

use std::collections::BTreeSet;

use pgq_client::Error;

use super::set::Set;
use super::{drop::subscribers, pause};
use crate::cli::{Exit, output};

/// `change-provider` of the node here.
pub(super) fn of_this_node(set: &mut Set, provider: &str) -> anyhow::Result<Exit> {
    let own = set.own.node_name.clone();
    let said = match change(set, &own, provider)? {
        true => format!("node \"{own}\" reads from node \"{provider}\""),
        false => format!("node \"{own}\" reads from node \"{provider}\" already"),
    };
    output::line(&said)?;
    Ok(Exit::Ok)
}

/// Is the one node the other, or does it read from it, by way of others or not? The nodes between
/// must be alive.
pub(super) fn depends(set: &mut Set, node: &str, on: &str) -> anyhow::Result<bool> {
    let (mut name, mut seen) = (node.to_owned(), BTreeSet::new());
    loop {
        if name == on {
            return Ok(true);
        }
        if !seen.insert(name.clone()) || !set.is_alive(&name) {
            return Ok(false);
        }
        let info = set.info(&name)?;
        match info.provider_node {
            Some(provider) if info.node_type != "root" => name = provider,
            _ => return Ok(false),
        }
    }
}

/// The newest tick of a node's queue.
pub(super) fn newest_tick(set: &mut Set, node: &str) -> anyhow::Result<i64> {
    const TICK: &str =
        "select coalesce(q.last_tick_id, 0)::pg_catalog.text from pgq.get_queue_info($1) q";
    let queue = set.queue.clone();
    let rows = set.site(node)?.rows(TICK, &[queue.as_str().into()])?;
    Ok(rows.first().map(|row| row.number(0)).transpose()?.unwrap_or(0))
}

/// Have a node read from this one. False when it does so already.
pub(super) fn change(set: &mut Set, node: &str, to: &str) -> anyhow::Result<bool> {
    let info = set.info(node)?;
    let up = set.info(to)?;
    let refuse = |what: String| Err(Error::Cascade(what).into());
    if info.is_root() {
        return refuse(format!(
            "node \"{node}\" is the root, and reads from nobody; hint: takeover"
        ));
    }
    if up.is_leaf() {
        return refuse(format!("node \"{to}\" is a leaf, and nobody can read from it"));
    }
    if info.provider_node.as_deref() == Some(to) {
        return Ok(false);
    }
    if depends(set, to, node)? {
        return refuse(format!("node \"{to}\" reads from node \"{node}\", or is the same"));
    }
    pause::consumer(set, node, &info.worker_name, true)?;
    let moved = subscribe(set, node, to);
    // Whatever came of it, the worker is to go on.
    let resumed = pause::consumer(set, node, &info.worker_name, false);
    moved?;
    resumed?;
    if let Some(old) = info.provider_node {
        forget(set, &old, node);
    }
    Ok(true)
}

/// While the node's worker pauses.
fn subscribe(set: &mut Set, node: &str, to: &str) -> anyhow::Result<()> {
    let (queue, patience) = (set.queue.clone(), set.patience);
    let queue = queue.as_str();
    let info = set.info(node)?;
    let (tick, worker) = (info.tick(), info.worker_name);
    let what = format!("node \"{to}\" to have tick {tick}: does its worker run?");
    patience.until(&what, || Ok((newest_tick(set, to)? >= tick).then_some(())))?;
    let own = set.member(node)?.location.clone();
    let values = [queue.into(), node.into(), own.as_str().into()];
    set.site(to)?.call("pgq_node.register_location($1, $2, $3, false)", &values)?;
    let other = set.member(to)?.location.clone();
    let values = [queue.into(), to.into(), other.as_str().into()];
    set.site(node)?.call("pgq_node.register_location($1, $2, $3, false)", &values)?;
    // What an attempt before has left is of another tick.
    let there = set.site(to)?;
    if subscribers(there, queue)?.iter().any(|known| known == node) {
        there.call("pgq_node.unregister_subscriber($1, $2)", &[queue.into(), node.into()])?;
    }
    let tick = tick.to_string();
    let values = [queue.into(), node.into(), worker.as_str().into(), tick.as_str().into()];
    there.call("pgq_node.register_subscriber($1, $2, $3, $4::pg_catalog.int8)", &values)?;
    let values = [queue.into(), worker.as_str().into(), to.into()];
    set.site(node)?.call("pgq_node.change_consumer_provider($1, $2, $3)", &values)?;
    Ok(())
}

/// Have a provider forget a subscriber. That it cannot is said: it keeps events for it.
pub(super) fn forget(set: &mut Set, provider: &str, node: &str) {
    let queue = set.queue.clone();
    let values = [queue.as_str().into(), node.into()];
    let told = set
        .site(provider)
        .and_then(|site| site.call("pgq_node.unregister_subscriber($1, $2)", &values));
    if let Err(error) = told {
        log::warn!("node \"{provider}\" does not forget its subscriber \"{node}\": {error:#}");
    }
}
