//! `remote-store DIR`: serve a repository of this host to a walmgr that came through ssh.
//!
//! Needs no configuration. As a forced command in `authorized_keys` it confines a key to one
//! repository. A client that only adds removes nothing, but what it adds may be a lie: an `expire`
//! elsewhere that counts forged backups removes real ones (`docs/walmgr.md` says what helps).

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::repo::ssh::serve;

/// Arguments of `remote-store`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the repository.
    path: PathBuf,
    /// Let the client add WAL and backups, and change and remove nothing: for hosts that archive.
    #[arg(long)]
    append_only: bool,
}

/// Serve until the client is gone.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.path.is_absolute() {
        let path = args.path.display();
        return Err(Error::Usage(format!("the repository \"{path}\" is not absolute")));
    }
    let (from, to) = (&mut std::io::stdin().lock(), &mut std::io::stdout().lock());
    serve::serve(&args.path, args.append_only, from, to)
}
