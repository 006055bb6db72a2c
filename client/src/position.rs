//! A consumer's position in a file of its own machine: for effects that live there and are restored
//! together with the file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use postgres::Client;
use postgres::types::Type;

use crate::error::Error;
use crate::failpoint::{self, Step};
use crate::subscription::Subscription;

/// The file: the last tick whose batch is complete, in decimal.
#[derive(Clone, Debug)]
pub(crate) struct PositionFile {
    path: PathBuf,
}

impl PositionFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn io(&self) -> impl Fn(std::io::Error) -> Error {
        |source| Error::Io { path: self.path.clone(), source }
    }

    /// The tick; none when there is no file yet.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] when something else is in the file.
    pub(crate) fn read(&self) -> Result<Option<i64>, Error> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io()(error)),
        };
        match text.trim().parse() {
            Ok(tick) => Ok(Some(tick)),
            Err(_) => Err(Error::Config(format!(
                "{}: \"{}\" is no tick",
                self.path.display(),
                text.trim()
            ))),
        }
    }

    /// Replace the file, so that a crash leaves the old tick or the new one.
    pub(crate) fn write(&self, tick: i64) -> Result<(), Error> {
        let mut new = self.path.as_os_str().to_owned();
        new.push(".new");
        let written = create_new(Path::new(&new)).and_then(|mut file| {
            file.write_all(tick.to_string().as_bytes())?;
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&new, &self.path)).map_err(self.io())?;
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))
            .and_then(|dir| dir.sync_all())
            .map_err(self.io())?;
        failpoint::visit(Step::PositionStored);
        Ok(())
    }

    /// Make queue and file agree: the file is right where both have a position, and the consumer is
    /// registered if it is not.
    pub(crate) fn align(
        &self,
        subscription: &Subscription,
        client: &mut Client,
    ) -> Result<(), Error> {
        match (position(subscription, client)?, self.read()?) {
            (Some(queue), Some(file)) if queue == file => Ok(()),
            (Some(queue), Some(file)) => {
                log::warn!(
                    "{}: the queue is at tick {queue}, {} at {file}: going there",
                    subscription.full_name(),
                    self.path.display()
                );
                subscription.register_at(client, file).map(drop)
            }
            (Some(queue), None) => self.write(queue),
            (None, Some(file)) => subscription.register_at(client, file).map(drop),
            (None, None) => {
                subscription.register(client)?;
                self.reset(subscription, client)
            }
        }
    }

    /// The queue is right.
    pub(crate) fn reset(
        &self,
        subscription: &Subscription,
        client: &mut Client,
    ) -> Result<(), Error> {
        match position(subscription, client)? {
            Some(tick) => self.write(tick),
            None => Err(Error::Config(format!(
                "consumer \"{}\" has no position in queue \"{}\"",
                subscription.full_name(),
                subscription.queue
            ))),
        }
    }
}

/// A new file in the place of what an earlier process left, and not through a link.
fn create_new(path: &Path) -> std::io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => File::create_new(path),
    }
}

/// The last tick the queue's database says is complete.
fn position(subscription: &Subscription, client: &mut Client) -> Result<Option<i64>, Error> {
    let row = client.query_typed_opt(
        "select last_tick from pgq.get_consumer_info($1, $2)",
        &[(&subscription.queue, Type::TEXT), (&subscription.consumer, Type::TEXT)],
    )?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}

#[cfg(test)]
mod tests {
    use super::PositionFile;

    #[test]
    fn position_survives_and_garbage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tick");
        let file = PositionFile::new(&path);
        assert_eq!(file.read().unwrap(), None);
        file.write(42).unwrap();
        assert_eq!(file.read().unwrap(), Some(42));
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("tick.new")).unwrap();
        file.write(43).unwrap();
        assert_eq!(file.read().unwrap(), Some(43));
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        std::fs::write(&path, "far away\n").unwrap();
        assert!(file.read().unwrap_err().to_string().ends_with("\"far away\" is no tick"));
        assert!(PositionFile::new(&dir.path().join("none/tick")).write(1).is_err());
    }
}
