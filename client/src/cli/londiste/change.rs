//! Tables that are attached change: they go, are copied anew, or are handled otherwise.

use pgq_client::Error;
use pgq_replica::cascade::attributes::Attributes;
use pgq_replica::{Argument, name};

use super::add_table::{Source, Triggers, tables_of};
use super::choose::{Kind, Names};
use super::set::Set;
use crate::cli::{Exit, output};

/// `remove-table` and `remove-seq`.
pub(super) fn remove(set: &mut Set, names: &Names, kind: Kind) -> anyhow::Result<Exit> {
    let queue = set.queue.clone();
    let chosen = names.attached(&mut set.here, &queue, kind)?;
    let function = match kind {
        Kind::Table => "londiste.local_remove_table($1, $2)",
        Kind::Sequence => "londiste.local_remove_seq($1, $2)",
    };
    let mut notes = Vec::new();
    set.here.run("begin")?;
    for name in &chosen {
        let values = [queue.as_str().into(), name.as_str().into()];
        notes.push(set.here.call(function, &values)?.note);
    }
    set.here.run("commit")?;
    for note in notes {
        output::line(&note)?;
    }
    Ok(Exit::Ok)
}

/// Tables for `resync`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Resync {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    source: Source,
}

const ATTRIBUTES: &str = "
    select table_attrs
      from londiste.get_table_list($1)
     where table_name operator(pg_catalog.=) $2
       and local";

/// `resync`: the worker copies the tables anew.
pub(super) fn resync(set: &mut Set, options: &Resync) -> anyhow::Result<Exit> {
    let queue = set.queue.clone();
    let tables = options.names.attached(&mut set.here, &queue, Kind::Table)?;
    if set.own.is_root() {
        let what = format!("node \"{}\" is the root: nobody has rows for it", set.own.node_name);
        return Err(Error::Config(what).into());
    }
    let source = options.source.node(set, &tables)?;
    let from = source.clone().map_or_else(|| set.provider(), Ok)?;
    let there = tables_of(set.site(&from)?, &queue)?;
    if let Some(table) =
        tables.iter().find(|table| there.get(*table).is_none_or(|known| !known.local))
    {
        return Err(Error::Absent(format!(
            "table \"{table}\" is not on node \"{from}\"; hint: change-provider, or --find-copy-node"
        ))
        .into());
    }
    let note = options.source.note(source.as_deref());
    set.here.run("begin")?;
    for table in &tables {
        let values = [queue.as_str().into(), table.as_str().into()];
        let before = set.here.value(ATTRIBUTES, &values)?.unwrap_or_default();
        let mut attributes = Attributes::parse(&before)?;
        match &note {
            Some(node) => attributes.set("copy_node", node),
            // An order of earlier times would make another node the source.
            None if options.source.find_copy_node || options.source.copy_node.is_some() => {
                attributes.remove("copy_node");
            }
            None => {}
        }
        let after = attributes.encode();
        if after != before {
            let after = Argument::Text((!after.is_empty()).then_some(after.as_str()));
            let values = [queue.as_str().into(), table.as_str().into(), after];
            set.here.call("londiste.local_set_table_attrs($1, $2, $3)", &values)?;
        }
        set.here.call("londiste.local_set_table_state($1, $2, null, null)", &values)?;
    }
    set.here.run("commit")?;
    for table in &tables {
        output::line(&format!("table \"{table}\" is copied anew"))?;
    }
    Ok(Exit::Ok)
}

/// A table for `change-handler`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Handler {
    /// The table
    table: String,
    #[command(flatten)]
    triggers: Triggers,
}

/// `change-handler`.
pub(super) fn handler(set: &mut Set, options: &Handler) -> anyhow::Result<Exit> {
    let queue = set.queue.clone();
    let table = name::full(&options.table);
    let values = [queue.as_str().into(), table.as_str().into()];
    let rows = set.here.rows(ATTRIBUTES, &values)?;
    let Some(row) = rows.first() else {
        let what = format!(
            "table \"{table}\" is not attached to the node; hint: \"tables\" lists those that are"
        );
        return Err(Error::Absent(what).into());
    };
    let mut attributes = Attributes::parse(row.get(0)?.unwrap_or_default())?;
    let handler = options.triggers.handler()?;
    if attributes.get("handler") == handler.as_deref() {
        output::line(&format!("table \"{table}\": the handler is as wanted"))?;
        return Ok(Exit::Ok);
    }
    match &handler {
        Some(handler) => attributes.set("handler", handler),
        None => attributes.remove("handler"),
    }
    let arguments = options.triggers.arguments();
    let arguments: Vec<_> = arguments.iter().map(|argument| Some(argument.as_str())).collect();
    let noted = attributes.encode();
    let noted = Argument::Text((!noted.is_empty()).then_some(noted.as_str()));
    let values = [queue.as_str().into(), table.as_str().into(), Argument::Texts(&arguments), noted];
    let answer = set.here.call("londiste.local_change_handler($1, $2, $3, $4)", &values)?;
    output::line(&answer.note)?;
    Ok(Exit::Ok)
}
