//! Named steps of a batch at which tests make the process die, or stand still.
//!
//! `PGQ_FAILPOINT=STEP=ACTION[@N]` arms one step in debug builds: at its N-th visit (the first
//! without `@N`) the process kills itself (`kill`, SIGKILL) or stops itself until SIGCONT (`stop`,
//! SIGSTOP). In release builds nothing of this exists.

/// A step of a batch that has just been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The server gave us a batch.
    BatchOpened,
    /// The target said whether it has completed the batch.
    TargetChecked,
    /// The first page of events is here.
    EventsRead,
    /// The handler has returned: for an event, or for the batch.
    HandlerDone,
    /// A dead letter is written, not committed.
    DeadStored,
    /// Retries are written, not committed.
    RetryStored,
    /// The target notes the batch as complete, not committed.
    TrackingNoted,
    /// The target has committed.
    TargetCommitted,
    /// The batch is finished, not committed.
    FinishSent,
    /// The end of the batch is committed.
    FinishCommitted,
    /// The position is in its file.
    PositionStored,
    /// The rows of all tables are copied, not committed.
    RowsCopied,
    /// A branch has laid the tick of the batch.
    TickLaid,
    /// A table's copier is registered with the provider, and nowhere else.
    CopierRegistered,
    /// A copier's rows and what they have seen are committed.
    CopyCommitted,
    /// A copier has asked the worker to wait.
    SyncWanted,
    /// The worker waits for a copier.
    SyncBegun,
    /// A copier has handed its table over.
    HandedOver,
}

impl Step {
    #[cfg(debug_assertions)]
    fn name(self) -> &'static str {
        match self {
            Self::BatchOpened => "batch.opened",
            Self::TargetChecked => "target.checked",
            Self::EventsRead => "events.read",
            Self::HandlerDone => "handler.done",
            Self::DeadStored => "dead.stored",
            Self::RetryStored => "retry.stored",
            Self::TrackingNoted => "tracking.noted",
            Self::TargetCommitted => "target.committed",
            Self::FinishSent => "finish.sent",
            Self::FinishCommitted => "finish.committed",
            Self::PositionStored => "position.stored",
            Self::RowsCopied => "rows.copied",
            Self::TickLaid => "tick.laid",
            Self::CopierRegistered => "copier.registered",
            Self::CopyCommitted => "copy.committed",
            Self::SyncWanted => "sync.wanted",
            Self::SyncBegun => "sync.begun",
            Self::HandedOver => "handed.over",
        }
    }
}

/// Say that a step has been taken.
#[cfg(debug_assertions)]
pub(crate) fn visit(step: Step) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    struct Armed {
        step: String,
        signal: Signal,
        at: u32,
        visits: AtomicU32,
    }
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("PGQ_FAILPOINT").ok()?;
        let (step, action) = text.split_once('=')?;
        let (action, at) = action.split_once('@').unwrap_or((action, "1"));
        let signal = match action {
            "kill" => Signal::KILL,
            "stop" => Signal::STOP,
            _ => return None,
        };
        let at = at.parse().ok()?;
        Some(Armed { step: step.to_owned(), signal, at, visits: AtomicU32::new(0) })
    });
    let Some(armed) = armed.as_ref().filter(|armed| armed.step == step.name()) else { return };
    if armed.visits.fetch_add(1, Ordering::Relaxed) + 1 != armed.at {
        return;
    }
    // A process may always signal itself.
    let _ = kill_process(getpid(), armed.signal);
    if armed.signal == Signal::KILL {
        // The signal is on its way; do not take another step.
        loop {
            std::thread::park();
        }
    }
}

/// Say that a step has been taken: nothing in release builds.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn visit(_step: Step) {}
