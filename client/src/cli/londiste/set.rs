//! The set of nodes that an INI file's node belongs to, and the connections to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pgq_client::postgres::Client;
use pgq_client::{CascadeSettings, Connector, Error, read_ini};

use super::interrupt::Interrupts;
use super::patience::Patience;
use super::site::{Info, Interrupted, Site};
use super::undo::{Step, Undo};
use crate::cli::pidfile::Pidfile;
use crate::cli::service::{Commands, Job};

/// What a command knows before it connects.
pub(super) struct Settings {
    pub(super) node: CascadeSettings,
    pub(super) commands: Commands,
    /// Commands that change something run one at a time.
    pidfile: Option<PathBuf>,
    pub(super) patience: Patience,
    interrupts: Interrupts,
    dead: Vec<String>,
}

impl Settings {
    /// Read the INI file.
    pub(super) fn read(
        ini: &std::path::Path,
        most: Option<Duration>,
        interrupts: Interrupts,
        dead: Vec<String>,
    ) -> anyhow::Result<Self> {
        let job = Job::read(&read_ini(ini)?)?;
        let Some((node, commands)) = job.cascade() else {
            return Err(Error::Config(format!("{}: no section londiste", ini.display())).into());
        };
        Ok(Self {
            node: node.clone(),
            commands: commands.clone(),
            pidfile: job.pidfile().map(PathBuf::from),
            patience: Patience { most, stop: interrupts.stop.clone() },
            interrupts,
            dead,
        })
    }

    /// Keep other commands that change something away, as long as the value lives.
    pub(super) fn alone(&self) -> anyhow::Result<Option<Pidfile>> {
        self.alone_as(".admin")
    }

    fn alone_as(&self, what: &str) -> anyhow::Result<Option<Pidfile>> {
        let Some(pidfile) = &self.pidfile else { return Ok(None) };
        let mut name = pidfile.clone().into_os_string();
        name.push(what);
        Ok(Some(Pidfile::create(&PathBuf::from(name))?))
    }

    /// Open the set for a command that only looks.
    pub(super) fn look(self) -> anyhow::Result<Set> {
        Set::open(self, None)
    }

    /// Open the set for a command that compares rows.
    pub(super) fn compare(self) -> anyhow::Result<Set> {
        let alone = self.alone_as(".repair")?;
        Set::open(self, alone)
    }

    /// Open the set for a command that changes something.
    pub(super) fn change(self) -> anyhow::Result<Set> {
        let alone = self.alone()?;
        Set::open(self, alone)
    }

    /// Connect to the node's own database.
    pub(super) fn here(&self) -> anyhow::Result<Site> {
        let stop = self.interrupts.stop.clone();
        Site::connect(&self.node.job, self.node.local.clone(), &self.node.job, Some(stop))
    }

    /// Connect to another node's database.
    pub(super) fn there(&self, name: &str, location: &str) -> anyhow::Result<Site> {
        let stop = self.interrupts.stop.clone();
        Site::connect(name, self.connector(location)?, &self.node.job, Some(stop))
    }

    /// Connect to another node's database, beside others, to look there: signals end that with the
    /// program.
    pub(super) fn beside(&self, name: &str, location: &str) -> anyhow::Result<Site> {
        Site::connect(name, self.connector(location)?, &self.node.job, None)
    }

    /// Use a connection to the node's own database for what signals cancel.
    pub(super) fn during<T>(
        &self,
        client: &mut Client,
        run: impl FnOnce(&mut Client) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let stop = &self.interrupts.stop;
        stop.statement(&self.node.local, client, run).ok_or(Interrupted)?
    }

    fn connector(&self, location: &str) -> anyhow::Result<Connector> {
        Ok(Connector::new(format!("{location} {}", self.node.remote_extra).trim_end())?)
    }
}

/// A node of the set, as this one knows it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) location: String,
    pub(super) dead: bool,
}

/// The set, seen from its node here.
pub(super) struct Set {
    pub(super) settings: Settings,
    pub(super) queue: String,
    pub(super) patience: Patience,
    pub(super) here: Site,
    /// The node here, as it was at first.
    pub(super) own: Info,
    pub(super) members: BTreeMap<String, Member>,
    others: BTreeMap<String, Site>,
    _alone: Option<Pidfile>,
}

impl Set {
    /// Connect to the node's database, which must be one of the queue.
    fn open(settings: Settings, alone: Option<Pidfile>) -> anyhow::Result<Self> {
        let mut here = settings.here()?;
        let queue = settings.node.queue.clone();
        if !here.has_schema("pgq_node")? || !here.has_schema("londiste")? {
            return Err(Error::Missing(format!(
                "{}: extension londiste is not installed there; create-root, create-branch and create-leaf do that",
                settings.node.local.label()
            ))
            .into());
        }
        let Some(own) = here.info(&queue)? else {
            return Err(Error::Absent(format!(
                "{}: no node of queue \"{queue}\"; hint: make it with create-root, create-branch or create-leaf",
                settings.node.local.label()
            ))
            .into());
        };
        here.rename(&own.node_name);
        let mut members = members(&mut here, &queue)?;
        for name in &settings.dead {
            match members.get_mut(name) {
                Some(member) => member.dead = true,
                None => return Err(unknown(name, &queue)),
            }
        }
        let patience = settings.patience.clone();
        Ok(Self {
            settings,
            queue,
            patience,
            here,
            own,
            members,
            others: BTreeMap::new(),
            _alone: alone,
        })
    }

    /// What is put back when the command does not come to its end.
    pub(super) fn undo(&self) -> Undo {
        self.settings.interrupts.undo.clone()
    }

    /// Have something put back on a node, unless the command comes to where that is to stay; `done`
    /// says that it was, `else_do` what is to be done there when it cannot be.
    pub(super) fn put_back_on(
        &self,
        node: &str,
        done: String,
        else_do: String,
        act: impl Fn(&mut Site) -> anyhow::Result<bool> + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let connector = match node == self.own.node_name {
            true => self.settings.node.local.clone(),
            false => self.settings.connector(&self.member(node)?.location)?,
        };
        let (node, job) = (node.to_owned(), self.settings.node.job.clone());
        self.undo().push(Step { node, connector, job, done, else_do, act: Arc::new(act) });
        Ok(())
    }

    pub(super) fn is_alive(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|member| !member.dead)
    }

    /// A node's location, whether it lives or not.
    pub(super) fn member(&self, name: &str) -> anyhow::Result<&Member> {
        self.members.get(name).ok_or_else(|| unknown(name, &self.queue))
    }

    /// The connection to a node, made where there is none yet.
    pub(super) fn site(&mut self, name: &str) -> anyhow::Result<&mut Site> {
        if name == self.own.node_name {
            return Ok(&mut self.here);
        }
        let member = self.member(name)?;
        if member.dead {
            return Err(Error::Cascade(format!(
                "node \"{name}\" is tagged dead; hint: tag-alive tells the set that it is back"
            ))
            .into());
        }
        if !self.others.contains_key(name) {
            let site = self.settings.there(name, &member.location)?;
            self.others.insert(name.to_owned(), site);
        }
        self.others.get_mut(name).ok_or_else(|| unknown(name, &self.queue))
    }

    /// What a node says of itself now.
    pub(super) fn info(&mut self, name: &str) -> anyhow::Result<Info> {
        let queue = self.queue.clone();
        let info = self.site(name)?.info(&queue)?;
        let none = || {
            Error::Absent(format!("node \"{name}\": its database is no node of queue \"{queue}\""))
        };
        Ok(info.ok_or_else(none)?)
    }

    /// The name of the node that this one reads from.
    pub(super) fn provider(&self) -> anyhow::Result<String> {
        let none = || Error::Cascade(format!("node \"{}\" has no provider", self.own.node_name));
        Ok(self.own.provider_node.clone().ok_or_else(none)?)
    }

    /// The name of the root, from provider to provider.
    pub(super) fn root(&mut self) -> anyhow::Result<String> {
        let (mut info, mut seen) = (self.own.clone(), BTreeSet::new());
        while !info.is_root() {
            if !seen.insert(info.node_name.clone()) {
                let names = seen.into_iter().collect::<Vec<_>>().join(", ");
                return Err(Error::Cascade(format!("the providers are a circle: {names}")).into());
            }
            let Some(provider) = info.provider_node else {
                let what = format!("node \"{}\" has no provider", info.node_name);
                return Err(Error::Cascade(what).into());
            };
            info = self.info(&provider)?;
        }
        Ok(info.node_name)
    }
}

fn unknown(name: &str, queue: &str) -> anyhow::Error {
    Error::Absent(format!("queue \"{queue}\" has no node \"{name}\"; hint: \"members\" lists them"))
        .into()
}

const MEMBERS: &str = "select node_name, coalesce(node_location, ''), dead::pg_catalog.text
                         from pgq_node.get_queue_locations($1)";

/// The nodes of the set that a node knows.
pub(super) fn members(site: &mut Site, queue: &str) -> anyhow::Result<BTreeMap<String, Member>> {
    let mut members = BTreeMap::new();
    for row in site.rows(MEMBERS, &[queue.into()])? {
        let member = Member { location: row.text(1)?.to_owned(), dead: row.flag(2)? };
        members.insert(row.text(0)?.to_owned(), member);
    }
    Ok(members)
}
