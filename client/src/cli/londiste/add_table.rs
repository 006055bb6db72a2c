//! Tables are attached to the node.

use std::collections::{BTreeMap, BTreeSet};

use pgq_client::Error;
use pgq_replica::cascade::attributes::Attributes;
use pgq_replica::{Argument, name};

use super::choose::{Kind, Names};
use super::lists::check_handler;
use super::set::Set;
use super::site::Site;
use super::structure::{Extent, Structure, exists};
use super::wait;
use crate::cli::{Exit, output};

/// How changes of a table are captured.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Triggers {
    /// Letters for the triggers: B or A (before, after), Q, L or J (format of events), I, U, D
    /// (operations), S (skip)
    #[arg(long, value_name = "LETTERS")]
    trigger_flags: Option<String>,
    /// An argument for the triggers, as "ignore=COLUMN"; may be given several times
    #[arg(long, value_name = "ARGUMENT")]
    trigger_arg: Vec<String>,
    /// Make no triggers
    #[arg(long)]
    no_triggers: bool,
    /// Handler of the table's changes; there is "londiste"
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// An argument for the handler; may be given several times
    #[arg(long, value_name = "KEY=VALUE", requires = "handler")]
    handler_arg: Vec<String>,
}

impl Triggers {
    /// Options among the triggers' arguments.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = self.trigger_arg.clone();
        arguments.extend(self.trigger_flags.as_ref().map(|flags| format!("tgflags={flags}")));
        if self.no_triggers {
            arguments.push("no_triggers".to_owned());
        }
        arguments
    }

    /// The handler as it is noted; the default is not.
    pub(super) fn handler(&self) -> anyhow::Result<Option<String>> {
        if let Some(handler) = &self.handler {
            check_handler(handler)?;
            if let Some(argument) = self.handler_arg.first() {
                let what = format!("handler \"{handler}\" takes no arguments: \"{argument}\"");
                return Err(Error::Config(what).into());
            }
        }
        Ok(None)
    }
}

/// From where the rows of a table are copied.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Source {
    /// Look from provider to provider for a node that has the table
    #[arg(long, conflicts_with = "copy_node")]
    pub(super) find_copy_node: bool,
    /// Copy the rows from this node
    #[arg(long, value_name = "NODE")]
    pub(super) copy_node: Option<String>,
}

impl Source {
    /// The node whose rows are copied; none for the provider.
    pub(super) fn node(&self, set: &mut Set, tables: &[String]) -> anyhow::Result<Option<String>> {
        let provider = set.own.provider_node.clone();
        let found = match &self.copy_node {
            Some(node) if *node == set.own.node_name => {
                return Err(
                    Error::Config(format!("node \"{node}\" cannot copy from itself")).into()
                );
            }
            Some(node) => {
                set.member(node)?;
                Some(node.clone())
            }
            None if self.find_copy_node && !set.own.is_root() => Some(find(set, tables)?),
            None => None,
        };
        Ok(found.filter(|node| Some(node) != provider.as_ref()))
    }

    /// How that is noted for workers.
    pub(super) fn note(&self, node: Option<&str>) -> Option<String> {
        let node = node?;
        log::warn!(
            "rows are to come from node \"{node}\": pgq's worker does not do that, Python's does"
        );
        Some(if self.find_copy_node { "?".to_owned() } else { node.to_owned() })
    }
}

/// The next node above that has all rows of these tables.
pub(super) fn find(set: &mut Set, tables: &[String]) -> anyhow::Result<String> {
    let (queue, mut node) = (set.queue.clone(), set.provider()?);
    let mut seen = BTreeSet::new();
    loop {
        let known = tables_of(set.site(&node)?, &queue)?;
        let has = |table: &String| known.get(table).is_some_and(|known| known.local && known.is_ok);
        let absent = tables.iter().find(|table| !has(table));
        let Some(absent) = absent else { return Ok(node) };
        let info = set.info(&node)?;
        match info.provider_node {
            Some(next) if seen.insert(node.clone()) && info.node_type != "root" => node = next,
            _ => {
                return Err(Error::Absent(format!(
                    "no node above has all rows of table \"{absent}\"; hint: add it to the root, or wait until its copy is done"
                ))
                .into());
            }
        }
    }
}

/// Tables for `add-table`, and how they are attached.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct AddTable {
    #[command(flatten)]
    names: Names,
    /// Wait until all tables of the node are in sync
    #[arg(long)]
    wait_sync: bool,
    /// The table's name here, when it is another
    #[arg(long, value_name = "NAME")]
    dest_table: Option<String>,
    /// The rows are here already: no copy
    #[arg(long)]
    expect_sync: bool,
    /// Keep what is in the table when it is copied
    #[arg(long)]
    skip_truncate: bool,
    /// Make the table with columns and primary key where it is missing
    #[arg(long)]
    create: bool,
    /// Make it with all that belongs to it: defaults, constraints, indexes, triggers, rules, grants
    #[arg(long)]
    create_full: bool,
    #[command(flatten)]
    triggers: Triggers,
    #[command(flatten)]
    source: Source,
    /// On a leaf: take the table from all queues that have it
    #[arg(long)]
    merge_all: bool,
    /// On a leaf: take it from this queue alone
    #[arg(long)]
    no_merge: bool,
    /// Copies of this table and others at once, at most
    #[arg(long, value_name = "NUMBER")]
    max_parallel_copy: Option<u32>,
    /// Leave out tables that are not there
    #[arg(long)]
    skip_non_existing: bool,
}

/// A table of the queue, as a node has it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) local: bool,
    pub(super) is_ok: bool,
    /// Its name there.
    pub(super) here: String,
}

/// The tables of the queue, as a node has them.
pub(super) fn tables_of(site: &mut Site, queue: &str) -> anyhow::Result<BTreeMap<String, Known>> {
    const TABLES: &str = "
        select table_name, local::pg_catalog.text, coalesce(dest_table, table_name),
               (coalesce(merge_state, '') operator(pg_catalog.=) 'ok')::pg_catalog.text
          from londiste.get_table_list($1)";
    let mut tables = BTreeMap::new();
    for row in site.rows(TABLES, &[queue.into()])? {
        let known =
            Known { local: row.flag(1)?, here: row.text(2)?.to_owned(), is_ok: row.flag(3)? };
        tables.insert(row.text(0)?.to_owned(), known);
    }
    Ok(tables)
}

/// Have the node know the tables that its provider knows, and no others.
fn learn(set: &mut Set, there: &BTreeMap<String, Known>) -> anyhow::Result<()> {
    let queue = set.queue.clone();
    let here = tables_of(&mut set.here, &queue)?;
    let register = set.settings.node.register_tables.clone();
    for table in there.keys().filter(|table| !here.contains_key(*table) && register.takes(table)) {
        log::info!("table \"{table}\" is new on the queue");
        let values = [queue.as_str().into(), table.as_str().into()];
        set.here.call("londiste.global_add_table($1, $2)", &values)?;
    }
    for table in here.keys().filter(|table| !there.contains_key(*table)) {
        log::warn!("table \"{table}\" is no longer on the queue, and is removed");
        let values = [queue.as_str().into(), table.as_str().into()];
        set.here.call("londiste.global_remove_table($1, $2)", &values)?;
    }
    Ok(())
}

/// `add-table`.
pub(super) fn add(set: &mut Set, options: &AddTable) -> anyhow::Result<Exit> {
    let queue = set.queue.clone();
    let handler = options.triggers.handler()?;
    let is_root = set.own.is_root();
    if !is_root {
        let provider = set.provider()?;
        let there = tables_of(set.site(&provider)?, &queue)?;
        learn(set, &there)?;
    }
    let tables = options.names.missing(&mut set.here, &queue, Kind::Table)?;
    if options.dest_table.is_some() && tables.len() > 1 {
        let what = "--dest-table is for a single table".to_owned();
        return Err(Error::Config(what).into());
    }
    let source = options.source.node(set, &tables)?;
    let from = match (&source, is_root) {
        (_, true) => None,
        (Some(node), false) => Some(node.clone()),
        (None, false) => Some(set.provider()?),
    };
    let there = match &from {
        Some(node) => tables_of(set.site(node)?, &queue)?,
        None => BTreeMap::new(),
    };
    if let Some(node) = from.as_ref().filter(|_| !options.expect_sync) {
        for table in &tables {
            if there.get(table).is_some_and(|known| !known.local) {
                if options.skip_non_existing {
                    log::warn!("table \"{table}\" is not on node \"{node}\"");
                    continue;
                }
                return Err(Error::Absent(format!(
                    "table \"{table}\" is not on node \"{node}\"; hint: add it there first, or change-provider, or --find-copy-node"
                ))
                .into());
            }
        }
    }
    let mut attributes = Attributes::default();
    let mut note = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            attributes.set(key, &value);
        }
    };
    note("handler", handler);
    note("copy_node", options.source.note(source.as_deref()));
    let keeps_rows = options.skip_truncate && !options.expect_sync;
    note("skip_truncate", keeps_rows.then(|| "1".to_owned()));
    note("max_parallel_copy", options.max_parallel_copy.map(|most| most.to_string()));
    let present = make(set, options, tables, from.as_deref(), &there)?;
    for table in &present {
        attach(set, options, table, &attributes)?;
    }
    if options.wait_sync {
        wait::for_sync(set)?;
    }
    Ok(Exit::Ok)
}

impl AddTable {
    fn extent(&self) -> Option<Extent> {
        match (self.create_full, self.create) {
            (true, _) => Some(Extent::Full),
            (false, true) => Some(Extent::Key),
            (false, false) => None,
        }
    }

    /// The table here.
    fn target(&self, table: &str) -> String {
        name::full(self.dest_table.as_deref().unwrap_or(table))
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = self.triggers.arguments();
        let flags = [
            (self.merge_all, "merge_all"),
            (self.no_merge, "no_merge"),
            (self.expect_sync, "expect_sync"),
        ];
        arguments.extend(flags.into_iter().filter(|(on, _)| *on).map(|(_, word)| word.to_owned()));
        arguments
    }
}

/// Make the tables that are missing, all before any is copied: foreign keys lead from one to the
/// other. Those that are here then.
fn make(
    set: &mut Set,
    options: &AddTable,
    tables: Vec<String>,
    from: Option<&str>,
    there: &BTreeMap<String, Known>,
) -> anyhow::Result<Vec<String>> {
    let is_virtual = options.arguments().iter().any(|argument| argument == "virtual_table");
    let (mut present, mut made) = (Vec::new(), Vec::new());
    begin(set)?;
    // Definitions are written for this path.
    set.here.run("set local search_path = pg_catalog")?;
    for table in tables {
        let target = options.target(&table);
        if !is_virtual && !exists(&mut set.here, &target, "r")? {
            if options.expect_sync && options.extent().is_some() {
                return Err(Error::Config(format!(
                    "table \"{target}\" does not exist here, and made by --create it would stay without the rows that --expect-sync says are here; hint: leave --expect-sync out, and they are copied"
                ))
                .into());
            }
            let (extent, (node, known)) = match (options.extent(), from.zip(there.get(&table))) {
                (None, _) if options.skip_non_existing => {
                    log::warn!("table \"{target}\" is not there, and is left out");
                    continue;
                }
                (None, _) => {
                    return Err(Error::Absent(format!(
                        "table \"{target}\" does not exist here; hint: --create or --create-full makes it"
                    ))
                    .into());
                }
                (Some(extent), Some(source)) => (extent, source),
                (Some(_), None) => {
                    return Err(Error::Absent(format!(
                        "table \"{table}\" does not exist, and no other node has it either"
                    ))
                    .into());
                }
            };
            let structure = Structure::read(set.site(node)?, &known.here, extent)?;
            log::info!("table \"{target}\" is made");
            structure.make(&mut set.here, &target)?;
            made.push((structure, target));
        }
        present.push(table);
    }
    for (structure, target) in made {
        structure.refer(&mut set.here, &target)?;
    }
    set.here.run("commit")?;
    Ok(present)
}

/// Begin a transaction that does not wait long for a table.
fn begin(set: &mut Set) -> anyhow::Result<()> {
    let most = set.settings.commands.lock_timeout.as_millis();
    set.here.run(&format!("begin; set local lock_timeout = {most}"))
}

fn attach(
    set: &mut Set,
    options: &AddTable,
    table: &str,
    attributes: &Attributes,
) -> anyhow::Result<()> {
    let queue = set.queue.clone();
    let (arguments, target) = (options.arguments(), options.target(table));
    let arguments: Vec<_> = arguments.iter().map(|argument| Some(argument.as_str())).collect();
    let noted = attributes.encode();
    let values = [
        queue.as_str().into(),
        table.into(),
        Argument::Texts(&arguments),
        Argument::Text((!noted.is_empty()).then_some(noted.as_str())),
        Argument::Text((target != table).then_some(target.as_str())),
    ];
    begin(set)?;
    let answer = set.here.call("londiste.local_add_table($1, $2, $3, $4, $5)", &values)?;
    set.here.run("commit")?;
    output::line(&answer.note)?;
    Ok(())
}
