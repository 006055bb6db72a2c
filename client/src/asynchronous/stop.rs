//! Stop an asynchronous consumer from another task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// A handle that stops what it was made for. Clones stop the same thing.
#[derive(Clone, Debug)]
pub struct AsyncStop(Arc<watch::Sender<bool>>);

impl Default for AsyncStop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl AsyncStop {
    /// A new handle, not yet asked to stop.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finish the batch at hand, then stop. A wait for events ends at once.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// True once it was asked for.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Until it is asked for.
    pub async fn requested(&self) {
        // The sender lives as long as this handle, so there is no other end than the request.
        let _ = self.0.subscribe().wait_for(|requested| *requested).await;
    }

    /// Pause, or until stopped.
    pub(super) async fn sleep(&self, pause: Duration) {
        // Which of both it was, the caller asks.
        let _ = tokio::time::timeout(pause, self.requested()).await;
    }
}
