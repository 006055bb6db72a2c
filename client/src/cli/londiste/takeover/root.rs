//! The root moves, and loses nothing.

use anyhow::Context as _;
use pgq_client::Error;

use super::move_readers;
use super::promote::{promote, register_old};
use crate::cli::londiste::pause;
use crate::cli::londiste::provider::{depends, forget_elsewhere, newest_tick};
use crate::cli::londiste::set::Set;
use crate::cli::londiste::site::Info;

/// The root moves here. Each step can be done again; where to go on is seen by what is done.
pub(super) fn from_root(set: &mut Set, old: &str, root: &Info, all: bool) -> anyhow::Result<()> {
    let (queue, new) = (set.queue.clone(), set.own.node_name.clone());
    let merged = |info: &Info| info.target_for.iter().flatten().next().cloned();
    if let Some(other) = merged(root).or_else(|| merged(&set.own)) {
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
        let (undo, mark) = (set.undo(), set.undo().mark());
        let moved = give_up_root(set, old, &new)
            .and_then(|tick| promote(set, mark, old, &root.worker_name, Some(tick)));
        if moved.is_err() {
            undo.back_to(mark);
        }
        moved?;
    } else if !takes_no_events(set, old)? {
        return Err(Error::Cascade(format!(
            "nodes \"{new}\" and \"{old}\" are both roots; hint: one of them was lost and has come back: see \"When the root is lost\" in docs/cascades.md"
        ))
        .into());
    } else {
        // A takeover by others may have left it out.
        let tick = newest_tick(set, old)?;
        register_old(set, old, &root.worker_name, tick)?;
    }
    forget_elsewhere(set, &new, &new);
    let ended = pause::let_go(set, &new)
        .and_then(|()| demote(set, old, 3, &new))
        .and_then(|_| end_of_root(set, old));
    ended.with_context(|| {
        format!("node \"{new}\" is the root now; hint: run takeover again, and it goes on")
    })
}

/// What comes after the old root has become a branch.
pub(super) fn end_of_root(set: &mut Set, old: &str) -> anyhow::Result<()> {
    let new = set.own.node_name.clone();
    forget_elsewhere(set, &new, &new);
    pause::let_go(set, &new)?;
    pause::let_go(set, old)
}

/// Workers pause while nodes change what they are: one that looks at its node only now and then
/// would go on as what it was. The old root lays its last tick, and the new one gets it.
fn give_up_root(set: &mut Set, old: &str, new: &str) -> anyhow::Result<i64> {
    // It was to pause when an earlier attempt was killed.
    pause::let_go(set, new)?;
    refuse_paused(&set.info(new)?)?;
    let queue = set.queue.clone();
    set.put_back_on(
        old,
        format!("node \"{old}\" stays the root"),
        format!("call pgq_node.cancel_demote('{queue}'), or run takeover again"),
        // Nobody else has come by [`keep_others_away`] to promote a node.
        move |site| {
            Ok(site.must("null", "pgq_node.cancel_demote($1)", &[queue.as_str().into()])?.code
                == 200)
        },
    )?;
    pause::hold(set, old, "takeover")?;
    demote(set, old, 1, new)?;
    let tick = last_tick(set, old, new)?;
    wait_for(set, new, tick)?;
    pause::hold(set, new, "takeover")?;
    still_demoted(set, old, tick)?;
    Ok(tick)
}

pub(super) fn refuse_paused(info: &Info) -> anyhow::Result<()> {
    if info.worker_paused != Some(true) {
        return Ok(());
    }
    let Info { worker_name, node_name, .. } = info;
    let what = format!("worker \"{worker_name}\" of node \"{node_name}\" is paused; hint: resume");
    Err(Error::Cascade(what).into())
}

/// Wait until a node has a tick.
pub(super) fn wait_for(set: &mut Set, node: &str, tick: i64) -> anyhow::Result<()> {
    let what = format!("node \"{node}\" to have tick {tick}: does its worker run?");
    let patience = set.patience.clone();
    patience.until(&what, || {
        let info = set.info(node)?;
        if info.tick() >= tick {
            return Ok(Some(()));
        }
        refuse_paused(&info)?;
        Ok(None)
    })
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
