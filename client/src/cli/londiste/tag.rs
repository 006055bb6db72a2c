//! All nodes of the set know that one of them is dead, or is back.

use pgq_client::Error;
use pgq_replica::Argument;

use super::set::Set;
use crate::cli::{Exit, output};

/// Tell all nodes that live. Those that cannot be told are named; the one here must be.
pub(super) fn everywhere(set: &mut Set, node: &str, dead: bool) -> anyhow::Result<()> {
    let (queue, own) = (set.queue.clone(), set.own.node_name.clone());
    if node == own {
        let what = format!("node \"{node}\" is this one, and lives");
        return Err(Error::Config(what).into());
    }
    set.member(node)?;
    let flag = dead.to_string();
    let values = [queue.as_str().into(), node.into(), Argument::Text(None), flag.as_str().into()];
    let function = "pgq_node.register_location($1, $2, $3, $4::pg_catalog.bool)";
    set.here.call(function, &values)?;
    if let Some(member) = set.members.get_mut(node) {
        member.dead = dead;
    }
    let others: Vec<_> = set
        .members
        .keys()
        .filter(|other| **other != own && (**other != node || !dead))
        .cloned()
        .collect();
    for other in others {
        if !set.is_alive(&other) {
            continue;
        }
        if let Err(error) = set.site(&other).and_then(|site| site.call(function, &values)) {
            log::warn!("node \"{other}\" is not told: {error:#}");
        }
    }
    Ok(())
}

/// `tag-dead` and `tag-alive`.
pub(super) fn tag(set: &mut Set, node: &str, dead: bool) -> anyhow::Result<Exit> {
    everywhere(set, node, dead)?;
    let what = if dead { "dead" } else { "alive" };
    output::line(&format!("node \"{node}\" of queue \"{}\" is tagged {what}", set.queue))?;
    Ok(Exit::Ok)
}
