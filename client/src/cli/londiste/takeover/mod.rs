//! A node takes the place of another one, which may be gone.

mod branch;
mod lost;
mod promote;
mod root;

use pgq_client::Error;

use super::drop::readers;
use super::provider::{change, depends};
use super::set::Set;
use crate::cli::{Exit, output};
use branch::{from_branch, from_dead_branch};
use lost::from_dead_root;
pub(super) use lost::gravestone;
use root::{end_of_root, from_root};

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
        _ => {
            let other = set.info(old)?;
            match (other.is_root(), set.own.is_root()) {
                (true, _) => from_root(set, old, &other, options.all)?,
                // The end of a takeover that was interrupted, or of none.
                (false, true) => end_of_root(set, old)?,
                (false, false) => from_branch(set, old)?,
            }
            if options.all {
                move_readers(set, old, &new)?;
            }
        }
    }
    output::line(&format!("node \"{new}\" has taken the place of node \"{old}\""))?;
    Ok(Exit::Ok)
}

/// Keep other takeovers away from a node, whoever runs them, as long as the connection lives.
pub(super) fn keep_others_away(set: &mut Set, node: &str) -> anyhow::Result<()> {
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
