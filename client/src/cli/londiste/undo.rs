//! What a command puts back when it does not come to its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use pgq_client::Connector;

use super::site::Site;

/// How long a step may take, and a statement and a lock of it: a node may hang.
const LONGEST: Duration = Duration::from_secs(10);
const WITHIN: &str = "set statement_timeout = '8s'; set lock_timeout = '5s'";

/// What a step does on a node; true when there was something to do.
type Act = dyn Fn(&mut Site) -> anyhow::Result<bool> + Send + Sync;

/// Something that is put back on a node.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) node: String,
    pub(super) connector: Connector,
    pub(super) job: String,
    /// What is so when it is done …
    pub(super) done: String,
    /// … and what is to be done by hand when it cannot be.
    pub(super) else_do: String,
    pub(super) act: Arc<Act>,
}

/// The steps, the last of which comes first.
#[derive(Clone, Default)]
pub(super) struct Undo(Arc<Mutex<Vec<Step>>>);

/// A place among the steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(usize);

impl Undo {
    /// Where steps that come from now on begin.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.lock().len())
    }

    /// Have something put back. Say so before it is done.
    pub(super) fn push(&self, step: Step) {
        self.lock().push(step);
    }

    /// Take out the steps from a mark on: what they would put back stays as it is.
    pub(super) fn take(&self, mark: Mark) -> Vec<Step> {
        let mut steps = self.lock();
        let length = mark.0.min(steps.len());
        steps.split_off(length)
    }

    /// The other way round.
    pub(super) fn give(&self, steps: Vec<Step>) {
        self.lock().extend(steps);
    }

    /// Put back what the steps from a mark on say, each by a connection of its own: those of the
    /// command may hang, or be in a transaction. Whoever does so at the same time waits.
    pub(super) fn back_to(&self, mark: Mark) {
        let mut steps = self.lock();
        while steps.len() > mark.0 {
            let Some(step) = steps.pop() else { break };
            step.put_back();
        }
    }

    /// Put back everything.
    pub(super) fn back(&self) {
        self.back_to(Mark(0));
    }

    /// What would have to be done by hand; none when that is not known at once.
    pub(super) fn rest(&self) -> Vec<String> {
        let steps = self.0.try_lock().map(|steps| {
            steps.iter().map(|step| format!("{}: {}", step.node, step.else_do)).collect()
        });
        steps.unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Step>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Step {
    fn put_back(self) {
        let Self { node, connector, job, done, else_do, act } = self;
        let (say, hear) = mpsc::channel();
        let name = node.clone();
        // Not awaited: where its server hangs, it ends with the process.
        std::thread::spawn(move || {
            let acted = Site::connect(&name, connector, &job, None).and_then(|mut site| {
                site.run(WITHIN)?;
                act(&mut site)
            });
            let _ = say.send(acted);
        });
        match hear.recv_timeout(LONGEST) {
            Ok(Ok(true)) => log::warn!("{done}"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => log::warn!("{error:#}; hint: on node \"{node}\" {else_do}"),
            Err(_) => log::warn!("node \"{node}\" does not answer; hint: there {else_do}"),
        }
    }
}
