//! A node takes the place of another one, which may be gone.

use pgq_client::Error;

use super::provider::{change, depends, forget, newest_tick};
use super::set::Set;
use super::{pause, tag};
use crate::cli::{Exit, output};

/// Whom the node takes the place of.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Takeover {
    /// The other node
    node: String,
    /// Have all who read from the other node read from this one
    #[arg(long)]
    all: bool,
    /// The other node was the root, and is gone
    #[arg(long, conflicts_with = "dead_branch")]
    dead_root: bool,
    /// The other node was a branch, and is gone
    #[arg(long)]
    dead_branch: bool,
}

/// `takeover`.
pub(super) fn take_over(set: &mut Set, options: &Takeover) -> anyhow::Result<Exit> {
    let (old, new) = (options.node.as_str(), set.own.node_name.clone());
    set.member(old)?;
    if old == new {
        return Err(Error::Config(format!("node \"{old}\" is this one")).into());
    }
    if set.own.is_leaf() {
        let what = format!("node \"{new}\" is a leaf: it has no events for others");
        return Err(Error::Cascade(what).into());
    }
    match (options.dead_root, options.dead_branch) {
        (true, _) => from_dead_root(set, old)?,
        (_, true) => from_dead_branch(set, old)?,
        _ if set.info(old)?.is_root() => from_root(set, old, options.all)?,
        _ if set.own.is_root() => {
            // The end of a takeover that was interrupted, or of none.
            if options.all {
                move_readers(set, old, &new)?;
            }
        }
        _ => {
            from_branch(set, old)?;
            if options.all {
                move_readers(set, old, &new)?;
            }
        }
    }
    output::line(&format!("node \"{new}\" has taken the place of node \"{old}\""))?;
    Ok(Exit::Ok)
}

/// Who reads from a node, of those that live.
fn readers(set: &mut Set, of: &str) -> anyhow::Result<Vec<String>> {
    let names: Vec<_> = set.members.keys().filter(|name| *name != of).cloned().collect();
    let mut readers = Vec::new();
    for name in names {
        if !set.is_alive(&name) {
            continue;
        }
        let info = set.info(&name)?;
        if !info.is_root() && info.provider_node.as_deref() == Some(of) {
            readers.push(name);
        }
    }
    Ok(readers)
}

fn move_readers(set: &mut Set, old: &str, new: &str) -> anyhow::Result<()> {
    for node in readers(set, old)? {
        if node != new {
            change(set, &node, new)?;
        }
    }
    Ok(())
}

/// A demotion and its last tick.
fn demote(set: &mut Set, old: &str, step: i32, new: &str) -> anyhow::Result<i64> {
    let queue = set.queue.clone();
    let step = step.to_string();
    let values = [queue.as_str().into(), step.as_str().into(), new.into()];
    let function = "pgq_node.demote_root($1, $2::pg_catalog.int4, $3)";
    let answer = set.site(old)?.call_for("last_tick", function, &values)?;
    Ok(answer.more.map(|tick| tick.parse()).transpose()?.unwrap_or(0))
}

/// The root moves here. Each step can be done again; where to go on is seen by what is done.
fn from_root(set: &mut Set, old: &str, all: bool) -> anyhow::Result<()> {
    let (queue, new) = (set.queue.clone(), set.own.node_name.clone());
    let queue = queue.as_str();
    const DISABLED: &str = "
        select q.queue_disable_insert::pg_catalog.text
          from pgq.queue q
         where q.queue_name operator(pg_catalog.=) $1";
    let root = set.info(old)?;
    let merged = |info: &super::site::Info| info.target_for.iter().flatten().next().cloned();
    if let Some(other) = merged(&root).or_else(|| merged(&set.own)) {
        return Err(Error::Cascade(format!(
            "queue \"{other}\" is merged into queue \"{queue}\"; hint: Python's takeover moves such a root"
        ))
        .into());
    }
    if !set.own.is_root() {
        if !depends(set, &new, old)? {
            let what = format!("node \"{new}\" does not read from node \"{old}\"");
            return Err(Error::Cascade(what).into());
        }
        if all {
            move_readers(set, old, &new)?;
        }
        let reached = give_up_root(set, old, &new);
        if let Err(error) = reached {
            let undone = set
                .site(old)
                .and_then(|site| site.call("pgq_node.cancel_demote($1)", &[queue.into()]));
            match undone {
                Ok(_) => log::warn!("node \"{old}\" stays the root"),
                Err(other) => log::warn!("node \"{old}\" takes no events: {other:#}"),
            }
            for node in [old, &new] {
                if let Err(other) = ask_to_go_on(set, node) {
                    log::warn!("the worker of node \"{node}\" pauses: {other:#}");
                }
            }
            return Err(error);
        }
        set.here.call("pgq_node.promote_branch($1)", &[queue.into()])?;
    } else if set.site(old)?.value(DISABLED, &[queue.into()])?.as_deref() != Some("true") {
        return Err(Error::Cascade(format!(
            "nodes \"{new}\" and \"{old}\" are both roots; hint: one of them was lost and has come back: see \"When the root is lost\" in docs/cascades.md"
        ))
        .into());
    }
    let location = set.member(old)?.location.clone();
    let values = [queue.into(), old.into(), location.as_str().into()];
    set.here.call("pgq_node.register_location($1, $2, $3, false)", &values)?;
    let tick = root_tick(set, old)?;
    let values = [queue.into(), old.into(), root.worker_name.as_str().into(), tick.as_str().into()];
    set.here.call("pgq_node.register_subscriber($1, $2, $3, $4::pg_catalog.int8)", &values)?;
    if let Some(provider) = set.own.provider_node.clone().filter(|provider| *provider != new) {
        forget(set, &provider, &new);
    }
    pause::worker(set, &new, false)?;
    demote(set, old, 3, &new)?;
    pause::worker(set, old, false)
}

/// Workers pause while nodes change what they are: one that looks at its node only now and then
/// would go on as what it was. The old root lays its last tick, and the new one gets it.
fn give_up_root(set: &mut Set, old: &str, new: &str) -> anyhow::Result<()> {
    pause::worker(set, old, true)?;
    demote(set, old, 1, new)?;
    let tick = demote(set, old, 2, new)?;
    wait_for(set, new, tick)?;
    pause::worker(set, new, true)
}

/// A worker need not be there to be told.
fn ask_to_go_on(set: &mut Set, node: &str) -> anyhow::Result<()> {
    let (queue, worker) = (set.queue.clone(), set.info(node)?.worker_name);
    let values = [queue.as_str().into(), worker.as_str().into()];
    set.site(node)?.call("pgq_node.set_consumer_paused($1, $2, false)", &values)?;
    Ok(())
}

fn root_tick(set: &mut Set, old: &str) -> anyhow::Result<String> {
    Ok(set.info(old)?.tick().to_string())
}

/// Wait until a node has a tick.
fn wait_for(set: &mut Set, node: &str, tick: i64) -> anyhow::Result<()> {
    let what = format!("node \"{node}\" to have tick {tick}: does its worker run?");
    set.patience.until(&what, || Ok((set.info(node)?.tick() >= tick).then_some(())))
}

/// The root is gone: the node here has what others have, and becomes the root.
fn from_dead_root(set: &mut Set, old: &str) -> anyhow::Result<()> {
    let (queue, new) = (set.queue.clone(), set.own.node_name.clone());
    if set.own.is_root() {
        let what = format!("node \"{new}\" is the root already");
        return Err(Error::Cascade(what).into());
    }
    tag::everywhere(set, old, true)?;
    let mut best = (newest_tick(set, &new)?, None);
    let others = readers(set, old)?;
    for node in others.iter().filter(|node| **node != new) {
        let info = set.info(node)?;
        // From a leaf nobody can read what it has.
        if info.tick() > best.0 && !info.is_leaf() {
            best = (info.tick(), Some(node.clone()));
        }
    }
    if let (tick, Some(node)) = best {
        change(set, &new, &node)?;
        wait_for(set, &new, tick)?;
    }
    let last = newest_tick(set, &new)?;
    let queue = queue.as_str();
    let up = set.info(&new)?.provider_node;
    set.here.call("pgq_node.promote_branch($1)", &[queue.into()])?;
    if let Some(provider) = up.filter(|provider| provider != old && *provider != new) {
        forget(set, &provider, &new);
    }
    // Where the old one left the set, for when it comes back.
    let (gravestone, tick) = (format!("{old}.gravestone"), last.to_string());
    let values = [queue.into(), old.into(), gravestone.as_str().into(), tick.as_str().into()];
    set.here.call("pgq_node.register_subscriber($1, $2, $3, $4::pg_catalog.int8)", &values)?;
    for node in others.iter().filter(|node| **node != new) {
        if set.info(node)?.tick() > last {
            log::warn!(
                "node \"{node}\" has more than the new root, and stays: its tables are to be copied anew"
            );
        } else {
            change(set, node, &new)?;
        }
    }
    Ok(())
}

/// The node here reads from where the other one did, which reads from here then.
fn from_branch(set: &mut Set, old: &str) -> anyhow::Result<()> {
    let new = set.own.node_name.clone();
    if depends(set, &new, old)? {
        let none = || Error::Cascade(format!("node \"{old}\" has no provider"));
        let provider = set.info(old)?.provider_node.ok_or_else(none)?;
        change(set, &new, &provider)?;
    }
    change(set, old, &new)?;
    Ok(())
}

/// The other one is gone: all who read from it read from here.
fn from_dead_branch(set: &mut Set, old: &str) -> anyhow::Result<()> {
    let new = set.own.node_name.clone();
    tag::everywhere(set, old, true)?;
    let mut above = None;
    let names: Vec<_> = set.members.keys().cloned().collect();
    for name in names {
        if set.is_alive(&name) {
            let queue = set.queue.clone();
            let readers = super::drop::subscribers(set.site(&name)?, &queue)?;
            above = readers.iter().any(|reader| reader == old).then_some(name).or(above);
        }
    }
    let none = || Error::Cascade(format!("nobody knows from whom node \"{old}\" has read"));
    let above = above.ok_or_else(none)?;
    if set.own.provider_node.as_deref() == Some(old) {
        change(set, &new, &above)?;
    }
    move_readers(set, old, &new)?;
    forget(set, &above, old);
    Ok(())
}
