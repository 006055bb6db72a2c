//! Events that only the lost root has, written into a file.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use pgq_client::Error;
use pgq_client::postgres::error::SqlState;

use crate::cli::londiste::site::Site;
use crate::cli::output;

/// The consumer that reads them.
const READER: &str = ".resurrect";

/// The file, and how many events there are of each type and table.
pub(super) struct Lost {
    path: PathBuf,
    file: BufWriter<File>,
    counts: BTreeMap<(String, String), u64>,
}

impl Lost {
    /// Make the file, which must not be there.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => Error::Config(format!(
                "{}: the file is there already, perhaps from an attempt before; hint: move it away, or name another with --events",
                path.display()
            )),
            _ => Error::Io { path: path.to_owned(), source },
        })?;
        let file = BufWriter::new(file);
        Ok(Self { path: path.to_owned(), file, counts: BTreeMap::new() })
    }

    /// Write all events after a tick of the queue, and have them on disk.
    pub(super) fn read(&mut self, site: &mut Site, queue: &str, tick: i64) -> anyhow::Result<()> {
        const BEGIN: &str = "select pgq.register_consumer_at($1, $2, $3::pg_catalog.int8)
                                        ::pg_catalog.text";
        const NEXT: &str = "select pgq.next_batch($1, $2)::pg_catalog.text";
        const EVENTS: &str = "
            select pg_catalog.row_to_json(e)::pg_catalog.text, coalesce(e.ev_type, ''),
                   coalesce(e.ev_extra1, '')
              from pgq.get_batch_events($1::pg_catalog.int8) e
             order by e.ev_id";
        const FINISH: &str = "select pgq.finish_batch($1::pg_catalog.int8)::pg_catalog.text";
        let number = tick.to_string();
        // An attempt that was killed may be in the middle.
        leave(site, queue)?;
        site.rows(BEGIN, &[queue.into(), READER.into(), number.as_str().into()])?;
        while let Some(batch) = site.value(NEXT, &[queue.into(), READER.into()])? {
            for row in site.rows(EVENTS, &[batch.as_str().into()])? {
                self.write(row.text(0)?)?;
                let kind = row.text(1)?.split(':').next().unwrap_or_default().to_owned();
                *self.counts.entry((row.text(2)?.to_owned(), kind)).or_default() += 1;
            }
            site.rows(FINISH, &[batch.as_str().into()])?;
        }
        let done = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        done.and_then(|()| sync_folder(&self.path)).map_err(|source| self.failed(source))
    }

    fn write(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.file, "{line}").map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> anyhow::Error {
        Error::Io { path: self.path.clone(), source }.into()
    }

    /// The events stay where they were.
    pub(super) fn forget(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("{}: {error}", self.path.display());
        }
    }

    /// Say what was lost.
    pub(super) fn tell(&self, path: &Path) -> anyhow::Result<()> {
        let all: u64 = self.counts.values().sum();
        let words = format!(
            "{} that nobody else has, in {}",
            output::counted(all, "event"),
            path.display()
        );
        output::line(&words)?;
        for ((table, kind), count) in &self.counts {
            output::line(&format!("  {kind} {table}: {count}"))?;
        }
        Ok(())
    }
}

/// The reader is no consumer any more, if it was.
pub(super) fn leave(site: &mut Site, queue: &str) -> anyhow::Result<()> {
    const LEAVE: &str = "select pgq.unregister_consumer($1, $2)::pg_catalog.text";
    let left = site.rows(LEAVE, &[queue.into(), READER.into()]);
    let is_absent = |error: &anyhow::Error| {
        let errors = error.chain().filter_map(|cause| cause.downcast_ref::<Error>());
        errors.into_iter().any(|error| error.sqlstate() == Some(SqlState::UNDEFINED_OBJECT.code()))
    };
    match left {
        Err(error) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
