//! Options that are a number of seconds.

use std::time::Duration;

use pgq_client::Error;

/// The value of an option that is a number of seconds.
pub(super) fn seconds(option: &str, value: f64) -> Result<Duration, Error> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| Error::Config(format!("{option}: {value} is no number of seconds")))
}
