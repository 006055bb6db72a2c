//! A node leaves its set.

use anyhow::Context as _;
use pgq_client::Error;

use super::set::Set;
use super::site::Site;
use crate::cli::{Exit, output};

/// Who reads from a node.
pub(super) fn subscribers(site: &mut Site, queue: &str) -> anyhow::Result<Vec<String>> {
    const SUBSCRIBERS: &str =
        "select s.node_name from pgq_node.get_subscriber_info($1) s order by s.node_name";
    let rows = site.rows(SUBSCRIBERS, &[queue.into()])?;
    rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
}

/// Who reads from a node, of those that live.
pub(super) fn readers(set: &mut Set, of: &str) -> anyhow::Result<Vec<String>> {
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

/// Drop a node of the set, by its name. Others that cannot be told are named.
pub(super) fn node(set: &mut Set, name: &str) -> anyhow::Result<Exit> {
    let queue = set.queue.clone();
    set.member(name)?;
    let mut is_root = false;
    let found = if set.is_alive(name) {
        let told = set.site(name).and_then(|site| site.info(&queue));
        // Without a node there this is the end of what was interrupted.
        let info = told.with_context(|| {
            format!("what reads from node \"{name}\" is not known; hint: --dead {name} drops it all the same")
        })?;
        is_root = info.is_some_and(|info| info.is_root());
        subscribers(set.site(name)?, &queue)?
    } else {
        readers(set, name)?
    };
    if !found.is_empty() {
        return Err(Error::Cascade(format!(
            "node \"{name}\" has subscribers: {}; hint: change-provider leads them elsewhere",
            found.join(", ")
        ))
        .into());
    }
    let values = [queue.as_str().into(), name.into()];
    let drop = "pgq_node.drop_node($1, $2)";
    // The node first: what it has captured goes with it, and nobody has forgotten it when that
    // fails.
    match set.is_alive(name) {
        true => {
            let told = set.site(name).and_then(|site| site.call(drop, &values));
            told.context("nothing is dropped")?;
        }
        false => log::warn!("node \"{name}\" is tagged dead: its queue and triggers stay there"),
    }
    // Who is not told by us hears of it by the root.
    let mut root_knows = is_root;
    if !is_root {
        let told = set.root().and_then(|root| {
            set.site(&root)?.call("pgq_node.unregister_location($1, $2)", &values)
        });
        match told {
            Ok(_) => root_knows = true,
            Err(error) => log::warn!("the root is not told: {error:#}"),
        }
    }
    let others: Vec<_> = set.members.keys().filter(|other| *other != name).cloned().collect();
    let mut failed = Vec::new();
    for other in others {
        if !set.is_alive(&other) {
            log::warn!("node \"{other}\" is tagged dead and is not told");
            continue;
        }
        if let Err(error) = set.site(&other).and_then(|site| site.call(drop, &values)) {
            log::warn!("{error:#}");
            failed.push(other);
        }
    }
    if (is_root || !root_knows) && !failed.is_empty() {
        return Err(Error::Cascade(format!(
            "node \"{name}\" is dropped, and nodes that still know it are not told: {}; hint: run drop-node again there",
            failed.join(", ")
        ))
        .into());
    }
    output::line(&format!("node \"{name}\" of queue \"{queue}\" is dropped"))?;
    Ok(Exit::Ok)
}
