//! A database becomes a node of a set.

use pgq_client::Error;
use pgq_connect::has_secret;
use pgq_replica::Argument;

use super::set::{Settings, members};
use super::site::{Info, Site};
use crate::cli::{Exit, output};

/// Which node, and how others connect to it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct New {
    /// The node's name; by default node_name of the INI file
    name: Option<String>,
    /// Connection string by which all nodes reach its database; by default public_node_location of
    /// the INI file
    location: Option<String>,
    /// Do not look whether the connection string leads to this database
    #[arg(long)]
    nocheck: bool,
}

/// Whom it reads from.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct From {
    #[command(flatten)]
    new: New,
    /// Connection string of the provider's database, used now; by default initial_provider_location
    /// of the INI file
    #[arg(long, value_name = "DSN")]
    provider: Option<String>,
}

/// A branch.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Branch {
    #[command(flatten)]
    from: From,
    /// Nodes, with commas between, whose events this one keeps as long as they need them
    #[arg(long, value_name = "NODES")]
    sync_watermark: Option<String>,
}

/// A leaf.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Leaf {
    #[command(flatten)]
    from: From,
    /// Queue of this database that takes the changes of this one and of others
    #[arg(long, value_name = "QUEUE")]
    merge: Option<String>,
}

/// What is made.
struct Plan {
    kind: &'static str,
    name: String,
    location: String,
    combined: Option<String>,
}

const EXTENSIONS: [&str; 3] = ["pgq", "pgq_node", "londiste"];

pub(super) fn root(settings: &Settings, new: New) -> anyhow::Result<Exit> {
    create(settings, "root", new, None, None)
}

pub(super) fn branch(settings: &Settings, branch: Branch) -> anyhow::Result<Exit> {
    let From { new, provider } = branch.from;
    let provider = from(settings, provider)?;
    let exit = create(settings, "branch", new, Some(&provider), None)?;
    if let Some(nodes) = branch.sync_watermark {
        log::warn!("workers of pgq do not heed sync_watermark; Python's do");
        let attributes = format!("sync_watermark={}", nodes.replace(',', "%2c"));
        let queue = settings.node.queue.as_str();
        settings
            .here()?
            .call("pgq_node.set_node_attrs($1, $2)", &[queue.into(), attributes.as_str().into()])?;
    }
    Ok(exit)
}

pub(super) fn leaf(settings: &Settings, leaf: Leaf) -> anyhow::Result<Exit> {
    let From { new, provider } = leaf.from;
    let provider = from(settings, provider)?;
    if leaf.merge.is_some() {
        log::warn!("workers of pgq do not merge queues; Python's do");
    }
    create(settings, "leaf", new, Some(&provider), leaf.merge)
}

fn from(settings: &Settings, given: Option<String>) -> anyhow::Result<String> {
    let provider = given.or_else(|| settings.commands.provider.clone());
    let none = "--provider, or initial_provider_location in the INI file, must say whom the node reads from";
    Ok(provider.ok_or_else(|| Error::Config(none.to_owned()))?)
}

fn create(
    settings: &Settings,
    kind: &'static str,
    new: New,
    provider: Option<&str>,
    combined: Option<String>,
) -> anyhow::Result<Exit> {
    let _alone = settings.alone()?;
    let commands = &settings.commands;
    let need = |what: &str, key: &str| {
        Error::Config(format!("the node's {what} must be given, or {key} in the INI file"))
    };
    let name = new.name.or_else(|| commands.name.clone());
    let name = name.ok_or_else(|| need("name", "node_name"))?;
    let location = new.location.or_else(|| commands.location.clone());
    let location = location.ok_or_else(|| need("connection string", "public_node_location"))?;
    if has_secret(&location) {
        return Err(Error::Config(format!(
            "the connection string of node \"{name}\" has a password, and all readers of the set would see it; hint: leave it out, and use a password file or a service"
        ))
        .into());
    }
    if !(location.contains("host") || location.contains("service") || location.contains("://")) {
        log::warn!("the connection string has no host: other machines will not find the node");
    }
    let queue = settings.node.queue.as_str();
    let mut here = settings.here()?;
    here.rename(&name);
    install(&mut here)?;
    if let Some(info) = here.info(queue)? {
        output::line(&format!(
            "database is node \"{}\" of queue \"{queue}\" already, a {}",
            info.node_name, info.node_type
        ))?;
        return Ok(Exit::Ok);
    }
    if !new.nocheck {
        check_location(settings, &mut here, &name, &location)?;
    }
    let plan = Plan { kind, name, location, combined };
    match provider {
        None => {
            here.run("begin")?;
            plan.register(&mut here, queue)?;
            plan.make(settings, &mut here, None)?;
        }
        Some(provider) => subscribe(settings, &plan, &mut here, provider)?,
    }
    here.run("commit")?;
    let Plan { name, .. } = plan;
    output::line(&format!("node \"{name}\" of queue \"{queue}\" is made, a {kind}"))?;
    Ok(Exit::Ok)
}

fn install(here: &mut Site) -> anyhow::Result<()> {
    for extension in EXTENSIONS {
        if !here.has_schema(extension)? {
            log::info!("extension {extension} is installed");
            here.run(&format!("create extension {extension}"))?;
        }
    }
    Ok(())
}

/// Take a lock that nobody else has here, and look for it there.
fn check_location(
    settings: &Settings,
    here: &mut Site,
    name: &str,
    location: &str,
) -> anyhow::Result<()> {
    const HELD: &str = "
        select pg_catalog.count(*)::pg_catalog.text
          from pg_catalog.pg_locks l
               join pg_catalog.pg_database d on d.oid operator(pg_catalog.=) l.database
         where d.datname operator(pg_catalog.=) pg_catalog.current_database()
           and l.locktype operator(pg_catalog.=) 'advisory'
           and l.granted
           and l.objsubid operator(pg_catalog.=) 1
           and ((l.classid::pg_catalog.int8 operator(pg_catalog.<<) 32)
                operator(pg_catalog.|) l.objid::pg_catalog.int8)
               operator(pg_catalog.=) $1::pg_catalog.text::pg_catalog.int8";
    const TAKE: &str = "
        select key::pg_catalog.text, pg_catalog.pg_advisory_xact_lock(key)::pg_catalog.text
          from (select pg_catalog.trunc(pg_catalog.random() operator(pg_catalog.*) 9e15)
                       ::pg_catalog.int8 as key) k";
    let mut there = settings.there(name, location)?;
    here.run("begin")?;
    let key = here.value(TAKE, &[])?.unwrap_or_default();
    let held = there.value(HELD, &[key.as_str().into()])?;
    here.run("rollback")?;
    if held.as_deref() == Some("1") {
        return Ok(());
    }
    Err(Error::Config(format!(
        "the connection string of node \"{name}\" leads to another database than db of the INI file; hint: --nocheck believes it all the same"
    ))
    .into())
}

/// Make a node that reads from another one. What is done elsewhere is done first, and can be done
/// again.
fn subscribe(
    settings: &Settings,
    plan: &Plan,
    here: &mut Site,
    provider: &str,
) -> anyhow::Result<()> {
    let (queue, name) = (settings.node.queue.as_str(), plan.name.as_str());
    let mut there = settings.there("provider", provider)?;
    let up = there.info(queue)?.ok_or_else(|| {
        Error::Absent(format!("the provider is no node of queue \"{queue}\"; hint: make it first"))
    })?;
    there.rename(&up.node_name);
    if up.is_leaf() {
        return Err(Error::Config(format!(
            "node \"{}\" is a leaf, and nobody can read from it; hint: name a root or a branch",
            up.node_name
        ))
        .into());
    }
    let mut root = root_above(settings, &up)?;
    let known = members(root.as_mut().unwrap_or(&mut there), queue)?;
    if known.get(name).is_some_and(|other| other.location != plan.location) {
        return Err(Error::Config(format!("queue \"{queue}\" has another node \"{name}\"")).into());
    }
    let worker = settings.node.job.as_str();
    super::provider::not_taken(&mut there, queue, name, worker)?;
    if let Some(root) = &mut root {
        plan.register(root, queue)?;
    }
    plan.register(&mut there, queue)?;
    let values = [queue.into(), name.into(), worker.into()];
    there.call("pgq_node.register_subscriber($1, $2, $3, null)", &values)?;
    // Not the watermark: it may have gone on since an earlier attempt has subscribed.
    const BEGIN: &str = "select c.last_tick::pg_catalog.text from pgq.get_consumer_info($1, $2) c";
    let begin = there.value(BEGIN, &[queue.into(), worker.into()])?;

    here.run("begin")?;
    for (other, member) in &known {
        let dead = member.dead.to_string();
        let values = [
            queue.into(),
            other.as_str().into(),
            member.location.as_str().into(),
            dead.as_str().into(),
        ];
        here.call("pgq_node.register_location($1, $2, $3, $4::pg_catalog.bool)", &values)?;
    }
    plan.register(here, queue)?;
    plan.make(settings, here, Some((&up.node_name, begin.as_deref())))?;
    for row in there.rows("select table_name from londiste.get_table_list($1)", &[queue.into()])? {
        let table = row.text(0)?;
        if settings.node.register_tables.takes(table) {
            here.call("londiste.global_add_table($1, $2)", &[queue.into(), table.into()])?;
        }
    }
    const SEQUENCES: &str =
        "select seq_name, last_value::pg_catalog.text from londiste.get_seq_list($1)";
    for row in there.rows(SEQUENCES, &[queue.into()])? {
        let (sequence, value) = (row.text(0)?, row.text(1)?);
        if settings.node.register_sequences.takes(sequence) {
            let values = [queue.into(), sequence.into(), value.into()];
            here.call("londiste.global_update_seq($1, $2, $3::pg_catalog.int8)", &values)?;
        }
    }
    Ok(())
}

/// The root's database, unless the provider is the root.
fn root_above(settings: &Settings, provider: &Info) -> anyhow::Result<Option<Site>> {
    let (mut info, mut site) = (provider.clone(), None);
    let mut seen = Vec::new();
    while !info.is_root() {
        if seen.contains(&info.node_name) {
            let what = format!("the providers are a circle: {}", seen.join(", "));
            return Err(Error::Cascade(what).into());
        }
        seen.push(info.node_name.clone());
        let (name, location) = (info.provider_node, info.provider_location);
        let (Some(name), Some(location)) = (name, location) else {
            let what = format!("node \"{}\" does not know where its provider is", info.node_name);
            return Err(Error::Cascade(what).into());
        };
        let mut next = settings.there(&name, &location)?;
        let queue = &settings.node.queue;
        let none = || Error::Absent(format!("node \"{name}\" is none of queue \"{queue}\""));
        info = next.info(queue)?.ok_or_else(none)?;
        site = Some(next);
    }
    Ok(site)
}

impl Plan {
    /// Have a node know where this one is.
    fn register(&self, site: &mut Site, queue: &str) -> anyhow::Result<()> {
        let values = [queue.into(), self.name.as_str().into(), self.location.as_str().into()];
        site.call("pgq_node.register_location($1, $2, $3, false)", &values)?;
        Ok(())
    }

    /// Make the node itself.
    fn make(
        &self,
        settings: &Settings,
        here: &mut Site,
        from: Option<(&str, Option<&str>)>,
    ) -> anyhow::Result<()> {
        let (provider, tick) = (from.map(|from| from.0), from.and_then(|from| from.1));
        let values = [
            settings.node.queue.as_str().into(),
            self.kind.into(),
            self.name.as_str().into(),
            settings.node.job.as_str().into(),
            Argument::Text(provider),
            Argument::Text(tick),
            Argument::Text(self.combined.as_deref()),
        ];
        here.call("pgq_node.create_node($1, $2, $3, $4, $5, $6::pg_catalog.int8, $7)", &values)?;
        Ok(())
    }
}
