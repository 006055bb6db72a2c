//! A node takes the place of another one, which may be gone.

use std::collections::BTreeSet;

use pgq_client::Error;

use super::drop::readers;
use super::provider::{change, depends, forget, forget_elsewhere, newest_tick, register};
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
    if options.dead_root || options.dead_branch {
        // Whoever else would become the root must ask one of these as well.
        let names: Vec<_> = set.members.keys().filter(|name| *name != old).cloned().collect();
        for name in &names {
            if set.is_alive(name) {
                keep_others_away(set, name)?;
            }
        }
    } else {
        for name in [old, &new] {
            keep_others_away(set, name)?;
        }
    }
    // As it is now that nobody else changes it.
    set.own = set.info(&new)?;
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

/// Keep other takeovers away from a node, whoever runs them, as long as the connection lives.
fn keep_others_away(set: &mut Set, node: &str) -> anyhow::Result<()> {
    const LOCK: &str = "
        select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 0::pg_catalog.int8))
                   ::pg_catalog.text";
    let key = format!("pgq londiste takeover {}", set.queue);
    if set.site(node)?.value(LOCK, &[key.as_str().into()])?.as_deref() == Some("true") {
        return Ok(());
    }
    let what = format!(
        "another takeover runs at node \"{node}\"; hint: wait for its end, and look at \"status\""
    );
    Err(Error::Cascade(what).into())
}

fn move_readers(set: &mut Set, old: &str, new: &str) -> anyhow::Result<()> {
    for node in readers(set, old)? {
        // What lies between the two stays.
        if !depends(set, new, &node)? {
            change(set, &node, new)?;
        }
    }
    Ok(())
}

/// A step of the old root's demotion.
fn demote(set: &mut Set, old: &str, step: i32, new: &str) -> anyhow::Result<Option<i64>> {
    let queue = set.queue.clone();
    let step = step.to_string();
    let values = [queue.as_str().into(), step.as_str().into(), new.into()];
    let function = "pgq_node.demote_root($1, $2::pg_catalog.int4, $3)";
    let answer = set.site(old)?.must("last_tick", function, &values)?;
    Ok(answer.more.map(|tick| tick.parse()).transpose()?)
}

/// The tick that the old root ends with, after which it takes no events.
fn last_tick(set: &mut Set, old: &str, new: &str) -> anyhow::Result<i64> {
    let none = || Error::Answer(format!("node \"{old}\" does not say its last tick"));
    Ok(demote(set, old, 2, new)?.ok_or_else(none)?)
}

const DISABLED: &str = "
    select q.queue_disable_insert::pg_catalog.text
      from pgq.queue q
     where q.queue_name operator(pg_catalog.=) $1";

fn takes_no_events(set: &mut Set, node: &str) -> anyhow::Result<bool> {
    let queue = set.queue.clone();
    let disabled = set.site(node)?.value(DISABLED, &[queue.as_str().into()])?;
    Ok(disabled.as_deref() == Some("true"))
}

/// The old root is as our demotion has left it: nobody has cancelled it, or promoted another node.
fn still_demoted(set: &mut Set, old: &str, tick: i64) -> anyhow::Result<()> {
    if set.info(old)?.is_root() && takes_no_events(set, old)? && newest_tick(set, old)? == tick {
        return Ok(());
    }
    let what = format!("somebody else has changed node \"{old}\" meanwhile");
    Err(Error::Cascade(what).into())
}

/// Undo the demotion. Nobody else has come by [`keep_others_away`] to promote a node.
fn cancel(set: &mut Set, old: &str) {
    let queue = set.queue.clone();
    let undone = set
        .site(old)
        .and_then(|site| site.must("null", "pgq_node.cancel_demote($1)", &[queue.as_str().into()]));
    match undone {
        Ok(_) => log::warn!("node \"{old}\" stays the root"),
        Err(other) => log::warn!(
            "node \"{old}\" takes no events; hint: run takeover again, or pgq_node.cancel_demote there: {other:#}"
        ),
    }
}

/// The root moves here. Each step can be done again; where to go on is seen by what is done.
fn from_root(set: &mut Set, old: &str, all: bool) -> anyhow::Result<()> {
    let (queue, new) = (set.queue.clone(), set.own.node_name.clone());
    let queue = queue.as_str();
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
        if let Err(error) = give_up_root(set, old, &new) {
            cancel(set, old);
            for node in [old, &new] {
                if let Err(other) = pause::ask(set, node, false) {
                    log::warn!("the worker of node \"{node}\" pauses: {other:#}");
                }
            }
            return Err(error);
        }
        promote(set)?;
    } else if !takes_no_events(set, old)? {
        return Err(Error::Cascade(format!(
            "nodes \"{new}\" and \"{old}\" are both roots; hint: one of them was lost and has come back: see \"When the root is lost\" in docs/cascades.md"
        ))
        .into());
    }
    let location = set.member(old)?.location.clone();
    let values = [queue.into(), old.into(), location.as_str().into()];
    set.here.call("pgq_node.register_location($1, $2, $3, false)", &values)?;
    let tick = newest_tick(set, old)?;
    register(&mut set.here, queue, old, &root.worker_name, tick)?;
    forget_elsewhere(set, &new, &new);
    pause::worker(set, &new, false)?;
    demote(set, old, 3, &new)?;
    pause::worker(set, old, false)
}

/// Workers pause while nodes change what they are: one that looks at its node only now and then
/// would go on as what it was. The old root lays its last tick, and the new one gets it.
fn give_up_root(set: &mut Set, old: &str, new: &str) -> anyhow::Result<()> {
    pause::worker(set, old, true)?;
    demote(set, old, 1, new)?;
    let tick = last_tick(set, old, new)?;
    wait_for(set, new, tick)?;
    pause::worker(set, new, true)?;
    still_demoted(set, old, tick)
}

/// Wait until a node has a tick.
fn wait_for(set: &mut Set, node: &str, tick: i64) -> anyhow::Result<()> {
    let what = format!("node \"{node}\" to have tick {tick}: does its worker run?");
    set.patience.until(&what, || Ok((set.info(node)?.tick() >= tick).then_some(())))
}

fn promote(set: &mut Set) -> anyhow::Result<()> {
    let queue = set.queue.clone();
    set.here.must("null", "pgq_node.promote_branch($1)", &[queue.as_str().into()])?;
    Ok(())
}

/// Refuse when the one that is said to be a root and gone is not, or not gone.
fn root_is_gone(set: &mut Set, old: &str) -> anyhow::Result<()> {
    let (queue, own) = (set.queue.clone(), set.own.node_name.clone());
    let refuse = |what: String| Err(Error::Cascade(what).into());
    let location = set.member(old)?.location.clone();
    // Whether or not it is tagged dead.
    if let Ok(mut there) = set.settings.there(old, &location)
        && let Some(info) = there.info(&queue)?
    {
        return refuse(format!(
            "node \"{old}\" lives and is a {}; hint: takeover without --dead-root, or stop its server",
            info.node_type
        ));
    }
    let names: Vec<_> = set.members.keys().filter(|name| *name != old).cloned().collect();
    for name in names {
        if set.is_alive(&name) && set.info(&name)?.is_root() {
            return refuse(format!("node \"{name}\" lives and is the root, not node \"{old}\""));
        }
    }
    let mut above = set.own.provider_node.clone();
    let mut seen = BTreeSet::new();
    while let Some(name) = above {
        if name == old {
            return Ok(());
        }
        if !seen.insert(name.clone()) || !set.is_alive(&name) {
            break;
        }
        above = set.info(&name)?.provider_node;
    }
    refuse(format!("node \"{own}\" does not read from node \"{old}\", by way of others or not"))
}

/// The root is gone: the node here has what others have, and becomes the root.
fn from_dead_root(set: &mut Set, old: &str) -> anyhow::Result<()> {
    let (queue, new) = (set.queue.clone(), set.own.node_name.clone());
    if set.own.is_root() {
        let what = format!("node \"{new}\" is the root already");
        return Err(Error::Cascade(what).into());
    }
    root_is_gone(set, old)?;
    tag::everywhere(set, old, true)?;
    let mut best = (newest_tick(set, &new)?, None);
    let others = readers(set, old)?;
    for node in others.iter().filter(|node| **node != new) {
        // From a leaf nobody can read what it has.
        if set.info(node)?.is_leaf() {
            continue;
        }
        // Not what its worker has applied: one that could not lay the tick any more has more.
        let tick = newest_tick(set, node)?;
        if tick > best.0 {
            best = (tick, Some(node.clone()));
        }
    }
    if let (tick, Some(node)) = best {
        change(set, &new, &node)?;
        wait_for(set, &new, tick)?;
    }
    let last = newest_tick(set, &new)?;
    let queue = queue.as_str();
    promote(set)?;
    forget_elsewhere(set, &new, &new);
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
    let mut above = None;
    let names: Vec<_> = set.members.keys().filter(|name| *name != old).cloned().collect();
    for name in names {
        if set.is_alive(&name) {
            let queue = set.queue.clone();
            let readers = super::drop::subscribers(set.site(&name)?, &queue)?;
            above = readers.iter().any(|reader| reader == old).then_some(name).or(above);
        }
    }
    let none = || Error::Cascade(format!("nobody knows from whom node \"{old}\" has read"));
    let above = above.ok_or_else(none)?;
    tag::everywhere(set, old, true)?;
    if set.own.provider_node.as_deref() == Some(old) {
        change(set, &new, &above)?;
    }
    move_readers(set, old, &new)?;
    forget(set, &above, old);
    Ok(())
}
