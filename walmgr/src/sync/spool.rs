//! The receiver's directory: what is whole goes to the repository; the segment that is still
//! growing stays here.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::repositories::push;
use crate::wal::file::WalFile;
use crate::wal::name::WalName;

/// Store everything whole, then remove it, but for the newest segment: by that the receiver knows
/// where to go on.
///
/// # Errors
/// The first that storing met; what is not stored stays.
pub(crate) fn ship(context: &Context, spool: &Path) -> Result<()> {
    let mut whole = Vec::new();
    for entry in fs::read_dir(spool).map_err(Error::local(format!("list {}", spool.display())))? {
        let entry = entry.map_err(Error::local(format!("list {}", spool.display())))?;
        let file = WalFile::at(entry.path());
        let is_whole =
            |file: &WalFile| matches!(file.name, WalName::Segment(_) | WalName::History(_));
        // Anything else is still growing, or not WAL at all.
        whole.extend(file.ok().filter(is_whole));
    }
    whole.sort_by_key(|file| file.name.to_string());
    let newest = whole.iter().rposition(|file| matches!(file.name, WalName::Segment(_)));
    for (number, file) in whole.iter().enumerate() {
        let WalFile { name, path } = file;
        push::everywhere(context, &[], file)?;
        // Another configuration may name more repositories, and this is removed here.
        context.config.file.check()?;
        if Some(number) != newest {
            fs::remove_file(path).map_err(Error::local(format!("remove {}", path.display())))?;
        }
        log::debug(format_args!("{name} stored"));
    }
    Ok(())
}

/// Deliver a segment that the repository does not have from a spool, finished or not. True when
/// there was one.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Mismatch`] when it is not of this place in this cluster's WAL.
pub(crate) fn deliver(stanza: &Stanza, spool: &Path, name: &WalName, to: &Path) -> Result<bool> {
    let WalName::Segment(segment) = name else { return Ok(false) };
    for candidate in [spool.join(segment), spool.join(format!("{segment}.partial"))] {
        let mut from = match File::open(&candidate) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::local(format!("open {}", candidate.display()))(error)),
        };
        let temporary =
            PathBuf::from(format!("{}.{}.walmgr.tmp", to.display(), std::process::id()));
        let what = || Error::local(format!("write {}", temporary.display()));
        let mut file = wal::write_anew(&temporary)?;
        io::copy(&mut from, &mut file).map_err(what())?;
        // What was not received reads as zeros, where replay ends.
        file.set_len(u64::from(stanza.info.wal_segment_size)).map_err(what())?;
        let delivered = wal::check_local(stanza, name, &temporary)
            .and_then(|()| fs::rename(&temporary, to).map_err(what()));
        if delivered.is_err() {
            // Best effort: the first error is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        delivered?;
        log::notice(format_args!("{segment} taken from {}", candidate.display()));
        return Ok(true);
    }
    Ok(false)
}
