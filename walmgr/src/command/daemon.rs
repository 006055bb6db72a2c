//! `daemon`: stay in the foreground and do the work of archive-push and archive-get ahead of time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::context::Context;
use crate::daemon::prefetch::Prefetcher;
use crate::daemon::push::Pusher;
use crate::daemon::server::{Server, THREADS};
use crate::error::{Error, Result};
use crate::log;

/// Run until a signal says stop. Being killed is as good: nothing is acknowledged that is not durable.
pub(crate) fn run(context: &Context) -> Result<()> {
    let data = context.config.data()?.to_owned();
    let settings = context.config.daemon.clone();
    let socket = context
        .config
        .socket()
        .ok_or_else(|| Error::Usage("daemon.socket and cluster.data are not set".to_owned()))?;
    if context.dry_run {
        log::print(format_args!("would listen on {}", socket.display()));
        return Ok(());
    }
    let stanza = context.stanza()?;
    let lock_path = data.join("walmgr.daemon.lock");
    let what = || Error::local(format!("lock {}", lock_path.display()));
    let lock = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(what())?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| Error::Locked(format!("another walmgr daemon serves {}", data.display())))?;

    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(Error::local("catch signals"))?;
    let jobs = settings.jobs.clamp(1, 64);
    let pusher = Arc::new(Pusher::new(context.clone(), &stanza, settings.ahead, jobs));
    let prefetcher = Arc::new(Prefetcher::new(context.clone(), &data, settings.prefetch)?);
    for _ in 0..jobs {
        let (pusher, prefetcher) = (Arc::clone(&pusher), Arc::clone(&prefetcher));
        spawn(move || pusher.work());
        spawn(move || prefetcher.work());
    }
    let listener = Arc::new(Server::listen(&socket)?);
    log::notice(format_args!("listening on {}", socket.display()));
    let server = Arc::new(Server { config: context.config.file.clone(), pusher, prefetcher });
    for _ in 0..THREADS {
        let (server, listener) = (Arc::clone(&server), Arc::clone(&listener));
        spawn(move || server.accept(&listener));
    }
    let signal = signals.forever().next();
    log::notice(format_args!("ended by signal {}", signal.unwrap_or_default()));
    // Clients that wait see the connection end, and do the work themselves.
    std::fs::remove_file(&socket).map_err(Error::local(format!("remove {}", socket.display())))
}

/// Start a thread that works for ever. Should it end all the same, by a panic, the daemon ends with it: clients would wait for what this
/// thread had taken, and without a daemon they do it themselves.
fn spawn(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        // The panic has said what it was.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(work));
        log::error("a thread has ended, and the daemon with it");
        std::process::exit(1);
    });
}
