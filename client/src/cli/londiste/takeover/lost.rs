//! The root is lost, and a branch becomes the root with what it has.

use std::collections::BTreeSet;

use anyhow::Context as _;
use pgq_client::Error;

use super::promote::promote;
use super::root::{refuse_paused, wait_for};
use crate::cli::londiste::drop::readers;
use crate::cli::londiste::provider::{change, forget_elsewhere, newest_tick};
use crate::cli::londiste::set::Set;
use crate::cli::londiste::tag;

/// The root is gone: the node here has what others have, and becomes the root.
pub(super) fn from_dead_root(set: &mut Set, old: &str) -> anyhow::Result<()> {
    let new = set.own.node_name.clone();
    let last = match set.own.is_root() {
        true => buried_at(set, old)?.ok_or_else(|| {
            Error::Cascade(format!(
                "node \"{new}\" is the root already, and has not taken the place of node \"{old}\"; hint: change-provider leads those here who still read there"
            ))
        })?,
        false => 0,
    };
    is_gone(set, old)?;
    if let Some(member) = set.members.get_mut(old) {
        // For this command; all nodes are told when there is another root.
        member.dead = true;
    }
    let last = match set.own.is_root() {
        true => last,
        false => {
            was_root(set, old)?;
            catch_up(set, old)?;
            let mark = set.undo().mark();
            promote(set, mark, old, &gravestone(old), None)?;
            let none = || Error::Answer(format!("node \"{new}\" has no gravestone"));
            buried_at(set, old)?.ok_or_else(none)?
        }
    };
    let ended = gather(set, old, last);
    ended.with_context(|| {
        format!("node \"{new}\" is the root now; hint: run takeover again, and it goes on")
    })
}

/// Have the node here get what another one has got more of the lost root.
fn catch_up(set: &mut Set, old: &str) -> anyhow::Result<()> {
    let new = set.own.node_name.clone();
    let mut best = (newest_tick(set, &new)?, None);
    for node in readers(set, old)?.into_iter().filter(|node| *node != new) {
        // From a leaf nobody can read what it has.
        if set.info(&node)?.is_leaf() {
            continue;
        }
        // Not what its worker has applied: one that could not lay the tick any more has more.
        let tick = newest_tick(set, &node)?;
        if tick > best.0 {
            best = (tick, Some(node));
        }
    }
    if let (tick, Some(node)) = best {
        refuse_paused(&set.info(&new)?)?;
        change(set, &new, &node)?;
        wait_for(set, &new, tick)?;
    }
    Ok(())
}

/// Have all know the new root, and read from it who has no more than it.
fn gather(set: &mut Set, old: &str, last: i64) -> anyhow::Result<()> {
    let new = set.own.node_name.clone();
    tag::everywhere(set, old, true)?;
    forget_elsewhere(set, &new, &new);
    for node in readers(set, old)?.into_iter().filter(|node| *node != new) {
        if set.info(&node)?.tick() > last {
            log::warn!(
                "node \"{node}\" has more than the new root, and stays: its tables are to be copied anew"
            );
        } else {
            change(set, &node, &new)?;
        }
    }
    Ok(())
}

/// Refuse when the one that is said to be gone is not.
fn is_gone(set: &mut Set, old: &str) -> anyhow::Result<()> {
    let queue = set.queue.clone();
    let location = set.member(old)?.location.clone();
    // Whether or not it is tagged dead.
    if let Ok(mut there) = set.settings.there(old, &location)
        && let Some(info) = there.info(&queue)?
    {
        return Err(Error::Cascade(format!(
            "node \"{old}\" lives and is a {}; hint: takeover without --dead-root, or stop its server",
            info.node_type
        ))
        .into());
    }
    Ok(())
}

/// Refuse when the one that is said to be a root is not.
fn was_root(set: &mut Set, old: &str) -> anyhow::Result<()> {
    let own = set.own.node_name.clone();
    let refuse = |what: String| Err(Error::Cascade(what).into());
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

/// Where a lost root has left the set, which the new one keeps as this consumer of its.
pub(in crate::cli::londiste) fn gravestone(old: &str) -> String {
    format!("{old}.gravestone")
}

/// The tick of a lost root's gravestone on the node here; none without.
fn buried_at(set: &mut Set, old: &str) -> anyhow::Result<Option<i64>> {
    const PLACE: &str = "
        select c.last_tick::pg_catalog.text
          from pgq_node.get_subscriber_info($1) s
               cross join pgq.get_consumer_info($1, s.worker_name) c
         where s.node_name operator(pg_catalog.=) $2
           and s.worker_name operator(pg_catalog.=) $3";
    let (queue, stone) = (set.queue.clone(), gravestone(old));
    let values = [queue.as_str().into(), old.into(), stone.as_str().into()];
    Ok(set.here.rows(PLACE, &values)?.first().map(|row| row.number(0)).transpose()?)
}
