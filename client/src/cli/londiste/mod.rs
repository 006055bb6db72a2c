//! `pgq londiste`, and the names `londiste` and `londiste3` of this program: replication.

mod add_table;
mod change;
mod check;
mod choose;
mod compare;
mod create;
mod drop;
mod execute;
mod interrupt;
mod lists;
mod node;
mod patience;
mod pause;
mod provider;
mod repair;
mod resurrect;
mod security;
mod sequences;
mod set;
mod site;
mod snapshots;
mod structure;
mod tag;
mod takeover;
mod tree;
mod undo;
mod wait;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::exit::UsageError;
use super::run::{Process, Run};
use super::seconds::seconds;
use super::{Exit, Global};
use choose::Kind;
use interrupt::Interrupts;
use set::Settings;

/// Replicate tables.
#[derive(Debug, clap::Args)]
pub(super) struct Londiste {
    #[command(flatten)]
    process: Process,
    /// Take this node for dead, this time; may be given several times
    #[arg(long, global = true, value_name = "NODE")]
    dead: Vec<String>,
    /// Give up after this many seconds of waiting for somebody else; by default never
    #[arg(long, global = true, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// The INI file; it has a section londiste or londiste3
    ini: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make this database the root of a new set
    CreateRoot(create::New),
    /// Make this database a node that others can read from
    CreateBranch(create::Branch),
    /// Make this database a node that only applies changes
    CreateLeaf(create::Leaf),
    /// Drop a node; its tables and their rows stay
    DropNode {
        /// The node
        node: String,
    },
    /// Show all nodes as a tree: type, tables in sync/copying/not here, lag, tick, errors
    Status {
        /// A line a node
        #[arg(long)]
        compact: bool,
    },
    /// Show this node, its provider and who reads here
    NodeStatus,
    /// Show what this node is, and how it is connected to
    NodeInfo,
    /// List the nodes of the set
    Members,
    /// Have this node's worker pause, and wait until it does
    Pause,
    /// Have this node's worker go on, and wait until it does
    Resume,
    /// Wait until this node has all that the root has now
    WaitRoot,
    /// Wait until this node has all that its provider has now
    WaitProvider,
    /// Wait until all tables of this node are in sync
    WaitSync,
    /// Have this node read from another one
    ChangeProvider {
        /// The other node
        #[arg(long, value_name = "NODE")]
        provider: String,
    },
    /// Take the place of another node: of the root, so that this node becomes it, or of a branch
    Takeover(takeover::Takeover),
    /// Have this node, the root that was lost and is back, follow the one that took its place; the
    /// events that nobody else has go into a file
    Resurrect(resurrect::Resurrect),
    /// Have all nodes leave a node alone
    TagDead {
        /// The node
        node: String,
    },
    /// Have all nodes know that a node is back
    TagAlive {
        /// The node
        node: String,
    },
    /// Replay what the provider has, and copy new tables; until stopped
    Worker,
    /// Attach tables to this node; its worker copies them
    AddTable(Box<add_table::AddTable>),
    /// Detach tables from this node; they stay as they are
    RemoveTable(choose::Names),
    /// Have a table of this node handled otherwise
    ChangeHandler(change::Handler),
    /// Attach sequences to this node
    AddSeq(sequences::AddSequence),
    /// Detach sequences from this node
    RemoveSeq(choose::Names),
    /// Have the worker copy tables anew
    Resync(change::Resync),
    /// List the tables of this node, and how far their copies are
    Tables {
        /// Their names only
        #[arg(long)]
        names_only: bool,
    },
    /// List the sequences of the queue
    Seqs,
    /// List tables and sequences that could be added to this node
    Missing,
    /// Compare what columns tables have here and on the provider; exit code 6 when some differ
    Check {
        /// Tables; by default all of this node
        tables: Vec<String>,
    },
    /// Compare the rows of tables here and above, without locks; the exit code is the number
    /// of tables that differ
    Compare(compare::Compare),
    /// Make rows of tables here as they are above: print the statements, or --apply them; the exit
    /// code is the number of tables that still differ
    Repair(repair::Repair),
    /// List foreign keys that are dropped until copies are done
    Fkeys,
    /// List the handlers that tables can have
    ShowHandlers {
        /// Handlers
        names: Vec<String>,
    },
    /// Copies run in the worker; this is refused
    #[command(hide = true)]
    Copy {
        /// The table
        table: String,
    },
    /// Run scripts on the root, in one transaction, and then on each node in their place among the
    /// changes; one that was run before, by its file's name, is left out
    Execute {
        /// Scripts of SQL
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

impl Command {
    /// Are signals to end it as any program? It leaves nothing, or has handlers of its own.
    fn needs_no_care(&self) -> bool {
        matches!(
            self,
            Self::Status { .. }
                | Self::NodeStatus
                | Self::NodeInfo
                | Self::Members
                | Self::WaitRoot
                | Self::WaitProvider
                | Self::WaitSync
                | Self::Worker
                | Self::Tables { .. }
                | Self::Seqs
                | Self::Missing
                | Self::Check { .. }
                | Self::Fkeys
                | Self::ShowHandlers { .. }
                | Self::Copy { .. }
        )
    }
}

impl Londiste {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let Self { process, dead, timeout, ini, command } = self;
        let most = timeout.map(|value| seconds("--timeout", value)).transpose()?;
        let interrupts = match command.needs_no_care() {
            true => Interrupts::default(),
            false => Interrupts::listen()?,
        };
        let settings = Settings::read(&ini, most, interrupts.clone(), dead)?;
        let format = global.format();
        interrupts.end_of(match command {
            Command::CreateRoot(new) => create::root(&settings, new),
            Command::CreateBranch(branch) => create::branch(&settings, branch),
            Command::CreateLeaf(leaf) => create::leaf(&settings, leaf),
            Command::DropNode { node } => drop::node(&mut settings.change()?, &node),
            Command::Status { compact } => tree::status(&settings.look()?, compact, format),
            Command::NodeStatus => tree::node_status(&mut settings.look()?, format),
            Command::NodeInfo => node::info(&settings.look()?, format),
            Command::Members => node::members(&mut settings.look()?, format),
            Command::Pause => pause::here(&mut settings.change()?, true),
            Command::Resume => pause::here(&mut settings.change()?, false),
            Command::WaitRoot => wait::for_root(&mut settings.look()?),
            Command::WaitProvider => wait::for_provider(&mut settings.look()?),
            Command::WaitSync => wait::for_sync(&mut settings.look()?),
            Command::ChangeProvider { provider } => {
                provider::of_this_node(&mut settings.change()?, &provider)
            }
            Command::Takeover(options) => takeover::take_over(&mut settings.change()?, &options),
            Command::Resurrect(options) => {
                resurrect::resurrect(&mut settings.change()?, &options)
            }
            Command::TagDead { node } => tag::tag(&mut settings.change()?, &node, true),
            Command::TagAlive { node } => tag::tag(&mut settings.change()?, &node, false),
            Command::AddTable(options) => add_table::add(&mut settings.change()?, &options),
            Command::RemoveTable(names) => {
                change::remove(&mut settings.change()?, &names, Kind::Table)
            }
            Command::ChangeHandler(options) => {
                change::handler(&mut settings.change()?, &options)
            }
            Command::AddSeq(options) => sequences::add(&mut settings.change()?, &options),
            Command::RemoveSeq(names) => {
                change::remove(&mut settings.change()?, &names, Kind::Sequence)
            }
            Command::Resync(options) => change::resync(&mut settings.change()?, &options),
            Command::Tables { names_only } => {
                lists::tables(&mut settings.look()?, names_only, format)
            }
            Command::Seqs => lists::sequences(&mut settings.look()?, format),
            Command::Missing => lists::missing(&mut settings.look()?, format),
            Command::Check { tables } => check::tables(&mut settings.look()?, &tables, format),
            Command::Compare(options) => compare::tables(settings, &options),
            Command::Repair(options) => repair::tables(settings, &options),
            Command::Fkeys => lists::foreign_keys(&mut settings.look()?, format),
            Command::ShowHandlers { names } => lists::handlers(&names),
            Command::Copy { table } => Err(UsageError(format!(
                "table \"{table}\" is copied by the node's worker; hint: \"resync\" has it copied anew"
            ))
            .into()),
            Command::Worker => Run::worker(ini, process).run(global),
            Command::Execute { files } => execute::scripts(&settings, &files),
        })
    }
}

/// The command line of a program that was called by a name of SkyTools that is ours, too.
pub(super) fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = given.collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if name.is_some_and(|name| name == "londiste" || name == "londiste3") {
        arguments.insert(1, "londiste".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory;

    use super::arguments;
    use crate::cli::Cli;

    #[test]
    fn the_name_of_the_program_is_a_command() {
        let given = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for line in ["/usr/bin/londiste a.ini worker", "londiste3 -v -d a.ini worker"] {
            let arguments = arguments(given(line).into_iter());
            let matches = Cli::command().try_get_matches_from(&arguments).unwrap();
            let (command, matches) = matches.subcommand().unwrap();
            assert_eq!(
                (command, matches.subcommand_name()),
                ("londiste", Some("worker")),
                "{line}"
            );
        }
        assert_eq!(arguments(given("pgq status").into_iter()), given("pgq status"));
    }
}
