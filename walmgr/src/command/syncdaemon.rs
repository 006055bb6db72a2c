//! `syncdaemon`: receive WAL as it is written, and store each segment when it is whole. Stays in
//! the foreground.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::command::sync;
use crate::config::watch::{Now, Watch};
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
    let config = Watch::new(&context.config, |config| sync::named(config).map(drop));
    let mut state = State { stop, config };
    let mut pause = TICK;
    while !state.ends() {
        match follow(context, &spool, &mut state) {
            Ok(()) => pause = TICK,
            Err(error) => log::warning(format_args!("{error}; will retry")),
        }
        let end = std::time::Instant::now() + pause;
        while !state.ends() && std::time::Instant::now() < end {
            std::thread::sleep(TICK);
        }
        pause = (pause * 2).min(Duration::from_secs(10));
    }
    context.config.file.check()?;
    spool::ship(context, &spool)?;
    if state.stop.load(Ordering::Relaxed) {
        return Ok(());
    }
    // As when it is another one for good: whoever keeps this running starts it anew.
    Err(Error::Failed("the configuration was another one for a moment".to_owned()))
}

/// What tells whether to go on.
struct State {
    stop: Arc<AtomicBool>,
    config: Watch,
}

impl State {
    /// A signal has come, or there is another configuration.
    fn ends(&mut self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.config.look() == Now::Other
    }

    /// Store what is whole, by the configuration that was read. While nobody can read what it is
    /// now, the spool keeps what comes: it may name more repositories.
    fn ship(&mut self, context: &Context, spool: &Path) -> Result<()> {
        match self.config.look() {
            Now::Same => spool::ship(context, spool),
            Now::Unusable | Now::Other => Ok(()),
        }
    }
}

/// Receive and store until the receiver ends.
fn follow(context: &Context, spool: &Path, state: &mut State) -> Result<()> {
    // First what an earlier run has left, and without the server if need be.
    state.ship(context, spool)?;
    receiver::create_slot(context, spool)?;
    let mut running = Receiver::start(context, spool, None)?;
    log::notice(format_args!("receiving WAL into {}", spool.display()));
    while !state.ends() && running.is_running()? {
        std::thread::sleep(TICK);
        // A repository that is away must not end the receiving: the spool keeps what comes.
        if let Err(error) = state.ship(context, spool) {
            log::warning(error);
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    if state.ends() || running.succeeded()? {
        Ok(())
    } else {
        Err(Error::Failed("pg_receivewal ended".to_owned()))
    }
}
