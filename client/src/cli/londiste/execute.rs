//! Scripts for all nodes.

use std::ffi::OsStr;
use std::path::PathBuf;

use pgq_client::postgres::Client;
use pgq_client::{Error, Statements};
use pgq_replica::cascade::execute;

use super::set::Settings;
use crate::cli::Exit;

/// Run scripts on the root, in one transaction.
pub(super) fn scripts(settings: &Settings, files: &[PathBuf]) -> anyhow::Result<Exit> {
    let _alone = settings.alone()?;
    let mut client = settings.node.local.connect()?;
    settings.during(&mut client, |client| run(client, &settings.node.queue, files))
}

fn run(client: &mut Client, queue: &str, files: &[PathBuf]) -> anyhow::Result<Exit> {
    let mut transaction = client.transaction().map_err(Error::from)?;
    for path in files {
        let read = |source| Error::Io { path: path.clone(), source };
        let sql = std::fs::read_to_string(path).map_err(read)?;
        let name = path.file_name().and_then(OsStr::to_str).ok_or_else(|| {
            Error::Config(format!("{}: a script is known by its file's name", path.display()))
        })?;
        let session = &mut Statements(&mut transaction);
        if !execute::begin(session, queue, name, &sql)? {
            log::warn!("{name}: was run before");
        }
    }
    transaction.commit().map_err(Error::from)?;
    Ok(Exit::Ok)
}
