//! `daemon`: stay in the foreground and do the work of archive-push and archive-get ahead of time.

use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::Config;
use crate::config::watch::Watch;
use crate::context::Context;
use crate::daemon::prefetch::Prefetcher;
use crate::daemon::push::Pusher;
use crate::daemon::server::{Server, THREADS};
use crate::daemon::threads;
use crate::error::{Error, Result};
use crate::log;
use crate::repositories::backlog::Backlog;

/// Run until a signal says stop. Being killed is as good: nothing is acknowledged that is not
/// durable.
pub(crate) fn run(context: &Context) -> Result<()> {
    let (data, socket) = places(&context.config)?;
    let settings = context.config.daemon.clone();
    if context.dry_run {
        log::print(format_args!("would listen on {}", socket.display()));
        return Ok(());
    }
    if !context.config.others().is_empty() {
        return Err(Error::Usage(
            "the daemon acknowledges WAL for all repositories of its configuration (no --repo)"
                .to_owned(),
        ));
    }
    check_user(&data)?;
    let repositories = context.each();
    let required: Vec<_> =
        repositories.iter().filter(|one| one.config.repository.required).collect();
    let stanza = required.first().copied().unwrap_or(context).stanza()?;
    let lock_path = data.join(walmgr_protocol::LOCK);
    let name = lock_path.display().to_string();
    let what = || Error::local(format!("lock {name}"));
    let lock = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(what())?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| Error::Locked(format!("another walmgr daemon serves {}", data.display())))?;

    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(Error::local("catch signals"))?;
    let jobs = settings.jobs;
    let backlogs: Vec<_> = Backlog::of_all(context).into_iter().map(Arc::new).collect();
    for backlog in &backlogs {
        let backlog = Arc::clone(backlog);
        threads::for_ever(move || backlog.work());
    }
    // A file goes into one after the other, so there are threads for each: while some wait for the
    // disk of the second, others compress for the first.
    let pushing = jobs * required.len().max(1);
    let pusher = Pusher::new(context.clone(), &stanza, backlogs, settings.ahead, pushing);
    let pusher = Arc::new(pusher);
    let prefetcher = Arc::new(Prefetcher::new(context.clone(), &data, settings.prefetch)?);
    for _ in 0..pushing {
        let pusher = Arc::clone(&pusher);
        threads::for_ever(move || pusher.work());
    }
    for _ in 0..jobs {
        let prefetcher = Arc::clone(&prefetcher);
        threads::for_ever(move || prefetcher.work());
    }
    let config = context.config.file.clone();
    let server = Arc::new(Server::listen(config, socket.clone(), pusher, prefetcher)?);
    log::notice(format_args!("listening on {}", socket.display()));
    for _ in 0..THREADS {
        let server = Arc::clone(&server);
        threads::for_ever(move || server.accept());
    }
    let locked = lock.metadata().map_err(what())?;
    let is_served = move || {
        std::fs::metadata(&lock_path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (locked.dev(), locked.ino()))
    };
    let watching = Arc::clone(&server);
    let config = Watch::new(&context.config, |config| places(config).map(drop));
    threads::for_ever(move || watching.watch(config, is_served));
    let signal = signals.forever().next();
    log::notice(format_args!("ended by signal {}", signal.unwrap_or_default()));
    server.end()
}

/// The data directory and the socket.
fn places(config: &Config) -> Result<(PathBuf, PathBuf)> {
    let data = config.data()?.to_owned();
    let socket = config
        .socket()
        .ok_or_else(|| Error::Usage("daemon.socket and cluster.data are not set".to_owned()))?;
    Ok((data, socket))
}

/// Refuse a user that is not the server's: the server could not ask this daemon, and not read, for
/// its own base backups, what it makes in the data directory.
fn check_user(data: &Path) -> Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let meta = data.metadata().map_err(Error::local(format!("look at {}", data.display())))?;
    if meta.uid() == own {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{} belongs to user id {}, this is user id {own}: run the daemon as the server's user",
        data.display(),
        meta.uid()
    )))
}
