//! The verbs, one file each.

pub(crate) mod adopt;
pub(crate) mod archive_get;
pub(crate) mod archive_push;
pub(crate) mod backup;
pub(crate) mod boot;
pub(crate) mod check;
pub(crate) mod cleanup;
pub(crate) mod completions;
pub(crate) mod continue_;
pub(crate) mod createslave;
pub(crate) mod daemon;
pub(crate) mod expire;
pub(crate) mod info;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod listbackups;
pub(crate) mod pause;
pub(crate) mod periodic;
pub(crate) mod pin;
pub(crate) mod places;
pub(crate) mod remote_store;
pub(crate) mod repository;
pub(crate) mod restore;
pub(crate) mod setup;
pub(crate) mod stanza_upgrade;
pub(crate) mod stop;
pub(crate) mod sync;
pub(crate) mod syncdaemon;
pub(crate) mod synch_standby;
pub(crate) mod verify;

use std::process::ExitCode;

use crate::cli::{Cli, Verb};
use crate::config::Config;
use crate::context::Context;
use crate::daemon::client::Asked;
use crate::error::Result;
use crate::log;
use crate::repositories;

/// Run the verb, report its failure, and return the exit code. `asked`: what came already of asking
/// the daemon to store a file. Only the configuration says where messages go, so a failure comes
/// this far.
pub(crate) fn run(cli: Cli, asked: Asked) -> ExitCode {
    log::set_level(if cli.quiet { 0 } else { 1 + u8::from(cli.verbose) });
    if let Verb::Init(args) = &cli.verb {
        // Writes the configuration, so it cannot read it.
        return report(init::run(&cli.config, cli.dry_run, args));
    }
    // These need none.
    match &cli.verb {
        Verb::RemoteStore(args) => return report(remote_store::run(args)),
        Verb::Completions(args) => return report(completions::run(args)),
        Verb::Key(key::Args { verb: key::Verb::Generate { file } }) => {
            return report(key::generate(file, cli.dry_run));
        }
        Verb::Man(args) => return report(completions::man(args)),
        _ => {}
    }
    let context = Config::load(&cli.config).and_then(|mut config| {
        log::set_target(&config.log);
        if let Some(name) = &cli.repo {
            config.select(name)?;
        }
        Ok(Context::new(config, cli.dry_run))
    });
    if let Verb::ArchiveGet(args) = &cli.verb {
        // Has exit codes of its own, also for a configuration that cannot be read.
        return ExitCode::from(archive_get::run(context, args));
    }
    report(context.and_then(|context| dispatch(&context, &cli.verb, asked)))
}

/// Say what went wrong, if anything did; the exit code.
fn report(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(context: &Context, verb: &Verb, asked: Asked) -> Result<()> {
    match verb {
        Verb::ArchivePush(args) => archive_push::run(context, args, asked),
        Verb::ArchiveGet(_)
        | Verb::Init(_)
        | Verb::RemoteStore(_)
        | Verb::Completions(_)
        | Verb::Man(_) => Ok(()),
        Verb::Daemon => daemon::run(context),
        Verb::Setup(args) => setup::run(context, args),
        Verb::Backup(args) => backup::run(context, args),
        Verb::Listbackups(args) => listbackups::run(context, args),
        Verb::Repository(action) => repository::run(context, action),
        Verb::Verify(args) if args.names_backups() => {
            repositories::any(context, |one| verify::run(one, args))
        }
        Verb::Verify(args) => repositories::each(context, |one| verify::run(one, args)),
        Verb::Restore(args) => restore::run(context, args),
        Verb::Expire(args) => repositories::each(context, |one| expire::run(one, args)),
        Verb::Pin(args) => repositories::any(context, |one| pin::run(one, args)),
        Verb::Unpin(args) => repositories::any(context, |one| pin::unpin(one, args)),
        Verb::Info(args) => info::run(context, args),
        Verb::Key(args) => repositories::one(context).and_then(|()| key::run(context, args)),
        Verb::StanzaUpgrade => repositories::each(context, stanza_upgrade::run),
        Verb::Check(args) => repositories::each(context, |one| check::run(one, args)),
        Verb::Stop(args) => stop::run(context, args),
        Verb::Createslave(args) => createslave::run(context, args),
        Verb::Boot(args) => boot::run(context, args),
        Verb::Pause(args) => pause::run(context, args),
        Verb::Sync => sync::run(context),
        Verb::Syncdaemon => syncdaemon::run(context),
        Verb::Continue => continue_::run(context),
        Verb::SynchStandby(args) => synch_standby::run(context, args),
        Verb::Periodic => periodic::run(context),
        Verb::Cleanup(args) => {
            repositories::one(context).and_then(|()| cleanup::run(context, args))
        }
        Verb::Adopt(args) => adopt::run(context, args),
    }
}
