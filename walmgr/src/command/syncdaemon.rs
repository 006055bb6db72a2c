//! `syncdaemon`: receive WAL as it is written, and store each segment when it is whole. Stays in
//! the foreground.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::command::sync;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::sync::receiver::{self, Receiver};
use crate::sync::spool;

const TICK: Duration = Duration::from_millis(100);

/// Receive until a signal says stop. Being killed is as good: the slot makes the server keep what
/// has not arrived.
pub(crate) fn run(context: &Context) -> Result<()> {
    let spool = sync::directory(context)?;
    context.stanza()?;
    if context.dry_run {
        log::print(format_args!("would receive WAL into {}", spool.display()));
        return Ok(());
    }
    let _lock = sync::lock(&spool)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(Error::local("catch signals"))?;
    }
    let stopped = || stop.load(Ordering::Relaxed);
    let mut pause = TICK;
    while !stopped() {
        match follow(context, &spool, &stopped) {
            Ok(()) => pause = TICK,
            Err(error) => log::warning(format_args!("{error}; will retry")),
        }
        let end = std::time::Instant::now() + pause;
        while !stopped() && std::time::Instant::now() < end {
            std::thread::sleep(TICK);
        }
        pause = (pause * 2).min(Duration::from_secs(10));
    }
    spool::ship(context, &spool)
}

/// Receive and store until the receiver ends.
fn follow(context: &Context, spool: &std::path::Path, stopped: &dyn Fn() -> bool) -> Result<()> {
    // First what an earlier run has left, and without the server if need be.
    spool::ship(context, spool)?;
    receiver::create_slot(context, spool)?;
    let mut running = Receiver::start(context, spool, None)?;
    log::notice(format_args!("receiving WAL into {}", spool.display()));
    while !stopped() && running.is_running()? {
        std::thread::sleep(TICK);
        // A repository that is away must not end the receiving: the spool keeps what comes.
        if let Err(error) = spool::ship(context, spool) {
            log::warning(error);
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    if stopped() || running.succeeded()? {
        Ok(())
    } else {
        Err(Error::Failed("pg_receivewal ended".to_owned()))
    }
}
