//! Commands that wait for what workers do, and do nothing else.

use std::collections::BTreeSet;

use super::set::Set;
use crate::cli::{Exit, output};

/// Wait until the node has what another one has now, and a tick more.
fn for_node(set: &mut Set, other: &str) -> anyhow::Result<Exit> {
    let there = set.info(other)?.tick();
    log::info!("node \"{other}\" has tick {there}");
    let own = set.own.node_name.clone();
    let what = format!("a tick of node \"{own}\" above {there}: do its worker and the ticker run?");
    let patience = set.patience.clone();
    let reached = patience.until(&what, || {
        let tick = set.info(&own)?.tick();
        Ok((tick > there).then_some(tick))
    })?;
    output::line(&format!("node \"{own}\" has tick {reached}"))?;
    Ok(Exit::Ok)
}

/// Wait until the node has what its root has.
pub(super) fn for_root(set: &mut Set) -> anyhow::Result<Exit> {
    if set.own.is_root() {
        output::line("the node is the root: nothing to wait for")?;
        return Ok(Exit::Ok);
    }
    let root = set.root()?;
    for_node(set, &root)
}

/// Wait until the node has what its provider has.
pub(super) fn for_provider(set: &mut Set) -> anyhow::Result<Exit> {
    if set.own.is_root() {
        output::line("the node is the root: nothing to wait for")?;
        return Ok(Exit::Ok);
    }
    let provider = set.provider()?;
    for_node(set, &provider)
}

const STATES: &str = "select table_name, merge_state from londiste.get_table_list($1) where local";

/// Wait until all tables of the node are in sync.
pub(super) fn for_sync(set: &mut Set) -> anyhow::Result<Exit> {
    let queue = set.queue.clone();
    let mut before: Option<BTreeSet<String>> = None;
    let what = "tables to be in sync: does the node's worker run?";
    let patience = set.patience.clone();
    let total = patience.until(what, || {
        let rows = set.here.rows(STATES, &[queue.as_str().into()])?;
        let mut waiting = BTreeSet::new();
        for row in &rows {
            if row.get(1)? != Some("ok") {
                waiting.insert(row.text(0)?.to_owned());
            }
        }
        match &before {
            None => log::info!("{}/{} table(s) to copy", waiting.len(), rows.len()),
            Some(before) => {
                for table in before.difference(&waiting) {
                    let done = rows.len() - waiting.len();
                    log::info!("{table}: finished ({done}/{})", rows.len());
                }
            }
        }
        let is_over = waiting.is_empty();
        before = Some(waiting);
        Ok(is_over.then_some(rows.len()))
    })?;
    let total = u64::try_from(total).unwrap_or(u64::MAX);
    output::line(&format!("{} in sync", output::counted(total, "table")))?;
    Ok(Exit::Ok)
}
