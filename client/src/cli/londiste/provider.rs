//! A node reads from another node than before.

use std::collections::BTreeSet;

use pgq_client::Error;

use super::set::Set;
use super::site::{Site, is_unknown};
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
        // Perhaps the end of what was interrupted.
        forget_elsewhere(set, node, to);
        pause::let_go(set, node)?;
        return Ok(false);
    }
    if depends(set, to, node)? {
        return refuse(format!("node \"{to}\" reads from node \"{node}\", or is the same"));
    }
    let queue = set.queue.clone();
    not_taken(set.site(to)?, &queue, node, &info.worker_name)?;
    // The node works on as long as this takes.
    wait_for_queue(set, to, info.tick())?;
    let (undo, mark) = (set.undo(), set.undo().mark());
    let moved = pause::hold(set, node, "change-provider")
        .and_then(|()| subscribe(set, node, to))
        .and_then(|()| {
            forget_elsewhere(set, node, to);
            pause::let_go(set, node)
        });
    match moved {
        Ok(()) => drop(undo.take(mark)),
        Err(_) => undo.back_to(mark),
    }
    moved.map(|()| true)
}

fn wait_for_queue(set: &mut Set, node: &str, tick: i64) -> anyhow::Result<()> {
    let what = format!("node \"{node}\" to have tick {tick}: does its worker run?");
    let patience = set.patience.clone();
    patience.until(&what, || Ok((newest_tick(set, node)? >= tick).then_some(())))
}

/// While the node's worker pauses.
fn subscribe(set: &mut Set, node: &str, to: &str) -> anyhow::Result<()> {
    let queue = set.queue.clone();
    let queue = queue.as_str();
    let info = set.info(node)?;
    let (tick, worker) = (info.tick(), info.worker_name);
    wait_for_queue(set, to, tick)?;
    let own = set.member(node)?.location.clone();
    let values = [queue.into(), node.into(), own.as_str().into()];
    set.site(to)?.call("pgq_node.register_location($1, $2, $3, false)", &values)?;
    let other = set.member(to)?.location.clone();
    let values = [queue.into(), to.into(), other.as_str().into()];
    set.site(node)?.call("pgq_node.register_location($1, $2, $3, false)", &values)?;
    let (undo, mark) = (set.undo(), set.undo().mark());
    let (of, subscriber) = (queue.to_owned(), node.to_owned());
    set.put_back_on(
        to,
        format!("node \"{to}\" forgets its subscriber \"{node}\""),
        format!("call pgq_node.unregister_subscriber('{queue}', '{node}')"),
        move |site| {
            let is_there = subscribers(site, &of)?.contains(&subscriber);
            let values = [of.as_str().into(), subscriber.as_str().into()];
            if is_there {
                site.call("pgq_node.unregister_subscriber($1, $2)", &values)?;
            }
            Ok(is_there)
        },
    )?;
    register(set.site(to)?, queue, node, &worker, tick)?;
    // From here on the node may read from there.
    let steps = undo.take(mark);
    let values = [queue.into(), worker.as_str().into(), to.into()];
    let function = "pgq_node.change_consumer_provider($1, $2, $3)";
    let changed = set.site(node)?.call(function, &values);
    if changed.as_ref().is_err_and(|error| !is_unknown(error)) {
        undo.give(steps);
    }
    changed.map(drop)
}

/// Refuse when a worker's name is that of another consumer there: the two would be one.
pub(super) fn not_taken(
    site: &mut Site,
    queue: &str,
    node: &str,
    worker: &str,
) -> anyhow::Result<()> {
    const HOLDER: &str = "
        select s.node_name
          from pgq.get_consumer_info($1, $2) c
               left join pgq_node.get_subscriber_info($1) s
                      on s.worker_name operator(pg_catalog.=) c.consumer_name
         where c.consumer_name is not null";
    let rows = site.rows(HOLDER, &[queue.into(), worker.into()])?;
    let Some(row) = rows.first() else { return Ok(()) };
    let whose = match row.get(0)? {
        Some(holder) if holder == node => return Ok(()),
        Some(holder) => format!("the worker of node \"{holder}\""),
        None => "another's".to_owned(),
    };
    let what = format!(
        "consumer \"{worker}\" of node \"{}\" is {whose}; hint: give node \"{node}\" another job_name",
        site.name()
    );
    Err(Error::Cascade(what).into())
}

/// Have a node know a subscriber at a tick. What an attempt before has left is of another one.
pub(super) fn register(
    site: &mut Site,
    queue: &str,
    node: &str,
    worker: &str,
    tick: i64,
) -> anyhow::Result<()> {
    not_taken(site, queue, node, worker)?;
    const PLACE: &str = "select c.last_tick::pg_catalog.text from pgq.get_consumer_info($1, $2) c";
    let tick = tick.to_string();
    if subscribers(site, queue)?.iter().any(|known| known == node) {
        let place = site.value(PLACE, &[queue.into(), worker.into()])?;
        if place.as_deref() == Some(tick.as_str()) {
            return Ok(());
        }
        site.call("pgq_node.unregister_subscriber($1, $2)", &[queue.into(), node.into()])?;
    }
    let values = [queue.into(), node.into(), worker.into(), tick.as_str().into()];
    site.call("pgq_node.register_subscriber($1, $2, $3, $4::pg_catalog.int8)", &values)?;
    Ok(())
}

/// Have all forget a subscriber but the one that it reads from. That one cannot is said.
pub(super) fn forget_elsewhere(set: &mut Set, node: &str, but: &str) {
    let queue = set.queue.clone();
    let names: Vec<_> = set.members.keys().filter(|name| *name != but).cloned().collect();
    for name in names {
        if !set.is_alive(&name) || name == node {
            continue;
        }
        match set.site(&name).and_then(|site| subscribers(site, &queue)) {
            Ok(known) if known.iter().any(|known| known == node) => forget(set, &name, node),
            Ok(_) => {}
            Err(error) => log::warn!("node \"{name}\" is not asked who reads there: {error:#}"),
        }
    }
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
