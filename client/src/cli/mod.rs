//! The `pgq` command: one file per subcommand, and what they share.

mod advice;
mod colour;
mod companions;
mod completions;
mod consume;
mod consumer;
mod dead;
mod examples;
mod exit;
mod install;
mod load;
mod logging;
mod londiste;
mod look;
mod man;
mod metrics;
mod missing;
mod r#move;
mod notify;
mod output;
mod patterns;
mod pidfile;
mod progress;
mod queue;
mod retry;
mod run;
mod screen;
mod seconds;
mod send;
mod service;
mod services;
mod serving;
mod signals;
mod skylog;
mod split;
mod status;
mod tail;
mod ticker;
mod top;
mod transfer;
mod views;
mod work;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use pgq_client::{Connector, Error, Features};
use pgq_connect::has_secret;

pub(crate) use exit::{Exit, code_of};
use output::Format;

/// Queues in PostgreSQL, from the command line.
#[derive(Debug, Parser)]
#[command(name = "pgq", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten, next_help_heading = EVERY_COMMAND)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Heading of the options that every command has.
const EVERY_COMMAND: &str = "Options of every command";

/// Options of every subcommand.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Connection string of the queue's database: key/value, URI or database name; PG* variables
    /// fill the rest
    #[arg(
        long,
        global = true,
        env = "PGQ_DSN",
        value_name = "DSN",
        default_value = "",
        hide_env_values = true,
        hide_default_value = true
    )]
    dsn: String,
    /// Print rows as JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    /// Say more on standard error; twice for every step
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say only what is wrong
    #[arg(short, long, global = true)]
    quiet: bool,
}

impl Global {
    fn format(&self) -> Format {
        if self.json { Format::Json } else { Format::Table }
    }

    fn connector(&self) -> Result<Connector, Error> {
        Connector::new(&self.dsn)
    }

    /// Connect to the queue's database, which must have PgQ.
    fn connect(&self) -> Result<postgres::Client, Error> {
        let connector = self.connector()?;
        let mut client = connector.connect()?;
        match Features::has_pgq(&mut client)? {
            true => Ok(client),
            false => Err(Error::Missing(format!(
                "{}: extension pgq is not installed there; run \"pgq install\"",
                connector.label()
            ))),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create, drop, list, show and configure queues
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Add, remove, list and move consumers
    #[command(subcommand)]
    Consumer(consumer::ConsumerCommand),
    /// Say whether the queues are healthy; exit code 6 when they are not
    Status(status::Status),
    /// Watch queues and consumers live
    Top(top::Top),
    /// Insert events: from arguments, or JSON lines or CSV from standard input
    Send(send::Send),
    /// Print numbers about queues and worker for Prometheus
    Metrics(metrics::Metrics),
    /// Follow a queue's events without consuming them
    Tail(tail::Tail),
    /// Consume events: print them, feed them to a program, or to an SQL function
    Consume(consume::Consume),
    /// Copy a queue's events into a queue of another database, exactly once (queue_mover)
    Move(r#move::Move),
    /// Distribute a queue's events over queues of another database, exactly once (queue_splitter)
    Split(split::Split),
    /// Apply row changes to tables of another database, exactly once (queue_loader)
    Load(load::Load),
    /// Replicate tables between the nodes of a cascade (londiste)
    Londiste(londiste::Londiste),
    /// Tick servers that have no worker (pgqd)
    Ticker(ticker::TickerCommand),
    /// Install the extensions and check that everything needed is there
    Install(install::Install),
    /// List events that wait for a retry, or retry them now
    #[command(subcommand)]
    Retry(retry::Retry),
    /// List, show, replay and purge dead letters
    #[command(subcommand)]
    Dead(dead::Dead),
    /// Run the service that an INI file describes, in SkyTools layout
    Run(run::Run),
    /// Start and stop services by their INI files (scriptmgr)
    Services(services::Services),
    /// Write the jobs of a registry as systemd's generators do
    #[command(hide = true)]
    Units(services::Units),
    /// Print a shell's completions
    Completions(completions::Completions),
    /// Write man pages into a directory
    #[command(hide = true)]
    Man(man::Man),
}

/// The command line with its examples.
fn command_line() -> clap::Command {
    examples::add(Cli::command()).after_help(format!("Exit codes: {}", exit::CODES))
}

/// Run the command line; the exit code.
pub(crate) fn main() -> Exit {
    let matches = command_line().try_get_matches_from(londiste::arguments(std::env::args_os()));
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        // It repeats what it does not understand.
        Err(error) if error.use_stderr() && has_secret(&error.to_string()) => {
            output::complain_of_arguments(&error.to_string());
            return Exit::Usage;
        }
        Err(error) => error.exit(),
    };
    logging::to_stderr(cli.global.verbose, cli.global.quiet);
    let global = &cli.global;
    let result = match cli.command {
        Command::Queue(command) => command.run(global),
        Command::Consumer(command) => command.run(global),
        Command::Status(command) => command.run(global),
        Command::Top(command) => command.run(global),
        Command::Send(command) => command.run(global),
        Command::Metrics(command) => command.run(global),
        Command::Tail(command) => command.run(global),
        Command::Consume(command) => command.run(global),
        Command::Move(command) => command.run(global),
        Command::Split(command) => command.run(global),
        Command::Load(command) => command.run(global),
        Command::Londiste(command) => command.run(global),
        Command::Ticker(command) => command.run(global),
        Command::Install(command) => command.run(global),
        Command::Retry(command) => command.run(global),
        Command::Dead(command) => command.run(global),
        Command::Run(command) => command.run(global),
        Command::Services(command) => command.run(global),
        Command::Units(command) => command.run(global),
        Command::Completions(command) => command.run(&mut command_line()),
        Command::Man(command) => command.run(command_line()),
    };
    match result {
        Ok(exit) => exit,
        Err(error) if exit::is_closed_pipe(&error) => Exit::Ok,
        Err(error) => {
            output::complain(&error);
            code_of(&error)
        }
    }
}
