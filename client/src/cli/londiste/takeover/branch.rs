//! A node takes the place of a branch.

use pgq_client::Error;

use super::move_readers;
use crate::cli::londiste::drop::{readers, subscribers};
use crate::cli::londiste::provider::{change, depends, forget};
use crate::cli::londiste::set::Set;
use crate::cli::londiste::tag;

/// The node here reads from where the other one did, which reads from here then.
pub(super) fn from_branch(set: &mut Set, old: &str) -> anyhow::Result<()> {
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
pub(super) fn from_dead_branch(set: &mut Set, old: &str) -> anyhow::Result<()> {
    let new = set.own.node_name.clone();
    let mut above = None;
    let names: Vec<_> = set.members.keys().filter(|name| *name != old).cloned().collect();
    for name in names {
        if set.is_alive(&name) {
            let queue = set.queue.clone();
            let known = subscribers(set.site(&name)?, &queue)?;
            above = known.iter().any(|reader| reader == old).then_some(name).or(above);
        }
    }
    let Some(above) = above else {
        // The end of a takeover that was interrupted.
        if !set.is_alive(old) && readers(set, old)?.is_empty() {
            return Ok(());
        }
        let what = format!("nobody knows from whom node \"{old}\" has read");
        return Err(Error::Cascade(what).into());
    };
    tag::everywhere(set, old, true)?;
    if set.own.provider_node.as_deref() == Some(old) {
        change(set, &new, &above)?;
    }
    move_readers(set, old, &new)?;
    forget(set, &above, old);
    Ok(())
}
