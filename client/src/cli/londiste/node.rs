//! What the node here is, and which others there are.

use pgq_client::postgres::types::Type;
use pgq_client::redact;
use serde_json::json;

use super::set::Set;
use crate::cli::output::{Format, Rows, done};
use crate::cli::{Exit, output};

/// `members`.
pub(super) fn members(set: &mut Set, format: Format) -> anyhow::Result<Exit> {
    const MEMBERS: &str = "select node_name, dead, node_location
                             from pgq_node.get_queue_locations($1)
                            order by node_name";
    let mut rows = Rows::query(set.here.client(), MEMBERS, &[(&set.queue, Type::TEXT)])?;
    // A location of upstream's may have a password.
    for value in rows.rows.iter_mut().flatten() {
        if let Some(text) = value.as_str() {
            *value = redact(text).into();
        }
    }
    rows.print(format)?;
    Ok(Exit::Ok)
}

/// `node-info`.
pub(super) fn info(set: &Set, format: Format) -> anyhow::Result<Exit> {
    let own = &set.own;
    let member = set.members.get(&own.node_name);
    let mut states = Vec::new();
    if member.is_some_and(|member| member.dead) {
        states.push("DEAD");
    }
    if own.worker_paused == Some(true) {
        states.push("PAUSED");
    }
    if own.worker_uptodate == Some(false) {
        states.push("NON-UP-TO-DATE");
    }
    let status = if states.is_empty() { "OK".to_owned() } else { states.join(", ") };
    let provider = own.provider_node.clone().filter(|_| !own.is_root());
    let provider_location = own.provider_location.as_deref().map(redact).filter(|_| !own.is_root());
    let location = member.map(|member| redact(&member.location));
    let local = &set.settings.commands.local;
    let mut lines = vec![
        format!("Node: {}  Type: {}  Queue: {}", own.node_name, own.node_type, set.queue),
        format!("Status: {status}"),
        format!("Provider: {}", provider.as_deref().unwrap_or("--")),
        "Connect strings:".to_owned(),
        format!("  Local   : {local}"),
    ];
    lines.extend(location.as_ref().map(|location| format!("  Public  : {location}")));
    lines.extend(provider_location.as_ref().map(|location| format!("  Provider: {location}")));
    if let Some(queue) = &own.combined_queue {
        let kind = own.combined_type.as_deref().unwrap_or("--");
        lines.push(format!("Combined Queue: {queue}  (node type: {kind})"));
    }
    let fields = [
        ("node", json!(own.node_name)),
        ("type", json!(own.node_type)),
        ("queue", json!(set.queue)),
        ("status", json!(status)),
        ("provider", json!(provider)),
        ("local", json!(local)),
        ("public", json!(location)),
        ("provider_location", json!(provider_location)),
        ("combined_queue", json!(own.combined_queue)),
    ];
    match format {
        Format::Json => done(format, "", &fields)?,
        Format::Table => {
            for line in lines {
                output::line(&line)?;
            }
        }
    }
    Ok(Exit::Ok)
}
