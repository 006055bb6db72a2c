//! `daemon`: stay in the foreground and do the work of archive-push and archive-get ahead of time.

use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::context::Context;
use crate::daemon::prefetch::Prefetcher;
use crate::daemon::push::Pusher;
use crate::daemon::server::Server;
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
    let segment_size = context.stanza()?.info.wal_segment_size;
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
    let pusher = Arc::new(Pusher::new(context.clone(), settings.ahead, jobs, segment_size));
    let prefetcher = Arc::new(Prefetcher::new(context.clone(), &data, settings.prefetch)?);
    for _ in 0..jobs {
        let (pusher, prefetcher) = (Arc::clone(&pusher), Arc::clone(&prefetcher));
        std::thread::spawn(move || pusher.work());
        std::thread::spawn(move || prefetcher.work());
    }
    let listener = Server::listen(&socket)?;
    log::notice(format_args!("listening on {}", socket.display()));
    let server = Server { config: context.config.file.clone(), pusher, prefetcher };
    std::thread::spawn(move || server.serve(&listener));
    let signal = signals.forever().next();
    log::notice(format_args!("ended by signal {}", signal.unwrap_or_default()));
    // Clients that wait see the connection end, and do the work themselves.
    std::fs::remove_file(&socket).map_err(Error::local(format!("remove {}", socket.display())))
}
