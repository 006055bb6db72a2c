//! Waiting for what others do.

use std::time::{Duration, Instant};

use pgq_client::{Error, Stop};

use super::site::Interrupted;

/// Between looks.
const LOOK: Duration = Duration::from_millis(200);
/// After this it is said what is waited for.
const SILENT: Duration = Duration::from_secs(5);

/// How long a command waits for others.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    pub(super) most: Option<Duration>,
    pub(super) stop: Stop,
}

impl Patience {
    /// Look until there is something.
    ///
    /// # Errors
    /// [`Error::Cascade`] when it takes too long; what looking fails with.
    pub(super) fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let (begin, mut said) = (Instant::now(), false);
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            let waited = begin.elapsed();
            if self.most.is_some_and(|most| waited >= most) {
                return Err(Error::Cascade(format!("{what} has not come in time")).into());
            }
            if waited >= SILENT && !said {
                log::warn!("waits for {what}");
                said = true;
            }
            if self.stop.sleep(LOOK) {
                return Err(Interrupted.into());
            }
        }
    }
}
