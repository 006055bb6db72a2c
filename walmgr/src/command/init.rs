//! `init`: ask the running server about itself and write a configuration file for it.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::durable::sync_directory;
use crate::error::{Error, Result};
use crate::log;
use crate::pg::sql;
use crate::pg::transport::Transport;
use crate::repo::stanza;

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the repository, best on another machine's disk.
    #[arg(long, value_name = "DIR")]
    repository: PathBuf,
    /// How to reach the server: connection string of a superuser.
    #[arg(long, value_name = "CONNINFO", default_value = "host=/var/run/postgresql user=postgres")]
    connect: String,
    /// Name of the cluster in the repository; else the server's cluster_name, else main.
    #[arg(long)]
    stanza: Option<String>,
    /// Encrypt the repository, with the key in this file; made if it does not exist.
    #[arg(long, value_name = "FILE")]
    encryption_key: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

/// Write the configuration file.
///
/// # Errors
/// [`Error::Usage`] when the file exists, or nothing could be done with it; [`Error::Server`].
pub(crate) fn run(file: &Path, transport: Transport, dry_run: bool, args: &Args) -> Result<()> {
    transport.become_able([args.connect.as_str()], None)?;
    if file.extension().is_some_and(|extension| extension == "ini") {
        return Err(Error::Usage("TOML is written: name a file that is not .ini".to_owned()));
    }
    if !args.repository.is_absolute() {
        let given = args.repository.display();
        return Err(Error::Usage(format!("the repository \"{given}\" is not absolute")));
    }
    if let Some(key) = args.encryption_key.as_ref().filter(|key| !key.is_absolute()) {
        return Err(Error::Usage(format!("the key file \"{}\" is not absolute", key.display())));
    }
    let text = text(transport, args)?;
    if dry_run {
        log::print(text.trim_end());
        return Ok(());
    }
    if let Some(key) = args.encryption_key.as_deref().filter(|key| !key.exists()) {
        super::key::generate(key, false)?;
    }
    write(file, &text, args.force)?;
    Config::load(file)?;
    log::notice(format_args!("{} written; next: walmgr setup", file.display()));
    Ok(())
}

fn text(transport: Transport, args: &Args) -> Result<String> {
    let mut client = sql::connect(transport, &args.connect)?;
    // Refuses servers that are too old.
    sql::stanza_info(&mut client)?;
    let data = sql::setting(&mut client, "data_directory")?;
    let name = match &args.stanza {
        Some(name) => name.clone(),
        None => Some(sql::setting(&mut client, "cluster_name")?)
            .filter(|name| stanza::check_name(name).is_ok())
            .unwrap_or_else(|| "main".to_owned()),
    };
    stanza::check_name(&name)?;
    let row =
        client.query_one("select setting from pg_catalog.pg_config where name = 'BINDIR'", &[])?;
    let bin: String = row.get(0);
    let quote = |value: &str| {
        // A JSON string is a TOML string, too.
        serde_json::to_string(value).map_err(|error| Error::Failed(error.to_string()))
    };
    let encryption = match &args.encryption_key {
        None => String::new(),
        Some(key) => format!("encryption.key_file = {}\n", quote(&key.display().to_string())?),
    };
    Ok(format!(
        "stanza = {}\n\n[cluster]\ndata = {}\nbin = {}\nconnect = {}\n\n[repository]\npath = {}\n\
         {encryption}\n[expire]\nkeep = 7\n",
        quote(&name)?,
        quote(&data)?,
        quote(&bin)?,
        quote(&args.connect)?,
        quote(&args.repository.display().to_string())?,
    ))
}

/// Write it whole, under a name that nothing reads, and then give it its own.
fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    let what = || Error::local(format!("write {}", path.display()));
    let path = std::path::absolute(path).map_err(what())?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut leaf = path.file_name().unwrap_or_default().to_owned();
    leaf.push(format!(".{}.tmp", std::process::id()));
    let temporary = directory.join(leaf);
    let mut file: File =
        File::options().write(true).create_new(true).mode(0o600).open(&temporary).map_err(what())?;
    let written = file
        .write_all(text.as_bytes())
        // The connection string may have a password.
        .and_then(|()| file.set_permissions(Permissions::from_mode(0o600)))
        .and_then(|()| file.sync_all())
        .and_then(|()| match force {
            true => std::fs::rename(&temporary, &path),
            false => std::fs::hard_link(&temporary, &path)
                .and_then(|()| std::fs::remove_file(&temporary)),
        });
    if let Err(error) = written {
        // Best effort: the first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
        return Err(match error.kind() {
            ErrorKind::AlreadyExists => {
                Error::Usage(format!("{} exists; --force replaces it", path.display()))
            }
            _ => what()(error),
        });
    }
    sync_directory(directory)
}
