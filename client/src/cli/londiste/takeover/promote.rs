//! A branch becomes the root, and keeps what the old root has yet to read.

use crate::cli::londiste::provider::{newest_tick, register};
use crate::cli::londiste::set::Set;
use crate::cli::londiste::site::is_unknown;
use crate::cli::londiste::undo::Mark;

/// Become the root, and in the same transaction keep what the old one has yet to read, as this
/// worker: from the tick on, or from where the queue is then. What the steps from the mark on put
/// back stays as it is unless this certainly has not become the root.
pub(super) fn promote(
    set: &mut Set,
    mark: Mark,
    old: &str,
    worker: &str,
    tick: Option<i64>,
) -> anyhow::Result<()> {
    set.here.run("begin isolation level read committed")?;
    let promoted = become_root(set, old, worker, tick);
    if promoted.is_err() {
        set.here.roll_back();
        return promoted;
    }
    let undo = set.undo();
    let steps = undo.take(mark);
    let ended = set.here.run("commit");
    match &ended {
        Ok(()) => {}
        Err(error) if is_unknown(error) => log::warn!(
            "whether node \"{}\" has become the root is not known; hint: run takeover again",
            set.own.node_name
        ),
        Err(_) => {
            set.here.roll_back();
            undo.give(steps);
        }
    }
    ended
}

fn become_root(set: &mut Set, old: &str, worker: &str, tick: Option<i64>) -> anyhow::Result<()> {
    let (queue, new) = (set.queue.clone(), set.own.node_name.clone());
    set.here.must("null", "pgq_node.promote_branch($1)", &[queue.as_str().into()])?;
    let tick = tick.map_or_else(|| newest_tick(set, &new), Ok)?;
    register_old(set, old, worker, tick)
}

/// Have the node here know the old root, and where it goes on reading.
pub(super) fn register_old(
    set: &mut Set,
    old: &str,
    worker: &str,
    tick: i64,
) -> anyhow::Result<()> {
    let queue = set.queue.clone();
    let member = set.member(old)?;
    let (location, dead) = (member.location.clone(), member.dead.to_string());
    let values =
        [queue.as_str().into(), old.into(), location.as_str().into(), dead.as_str().into()];
    set.here.call("pgq_node.register_location($1, $2, $3, $4::pg_catalog.bool)", &values)?;
    register(&mut set.here, &queue, old, worker, tick)
}
