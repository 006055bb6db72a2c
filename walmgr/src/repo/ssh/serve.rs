//! The other end: a local repository, served to one client through standard input and output.
//!
//! The repository is opened anew for each request, so a disk that is not mounted any more is
//! noticed. Locks are held by this process, and end with it when the client is gone.

use std::io::{self, Read, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::repo::local::LocalStore;
use crate::repo::mark::Mark;
use crate::repo::ssh::protocol::{self, Adds, Reply, Request, VERSION};
use crate::repo::{Created, Lock, LockMode, Store};

/// Serve until the client ends the conversation.
///
/// # Errors
/// [`Error::Failed`] when it breaks off.
pub(crate) fn serve(
    path: &Path,
    append_only: bool,
    from: &mut dyn Read,
    to: &mut dyn Write,
) -> Result<()> {
    let broken = |error: io::Error| Error::Failed(format!("the conversation broke off: {error}"));
    let mut locks: Vec<Box<dyn Lock>> = Vec::new();
    while let Some((request, _)) = protocol::receive::<Request>(from).map_err(broken)? {
        let outcome = if !request.is_harmless() {
            Err(Error::Usage(format!("{request:?} leads out of the repository")))
        } else if append_only {
            answer_adding(path, &request, &mut locks, from)
        } else {
            answer(path, &request, &mut locks, from)
        };
        let (reply, body) = match outcome {
            Ok(answer) => answer,
            Err(error) => (Reply::failed(&error), Vec::new()),
        };
        protocol::send(to, &reply, &body).map_err(broken)?;
    }
    Ok(())
}

/// Answer a client that only adds.
fn answer_adding(
    path: &Path,
    request: &Request,
    locks: &mut Vec<Box<dyn Lock>>,
    from: &mut dyn Read,
) -> Result<(Reply, Vec<u8>)> {
    let refused = || Error::Usage(format!("this access only adds to the repository: {request:?}"));
    match request {
        Request::Create { key } => {
            let store = LocalStore::open(path).and_then(|store| {
                if may_create(&store, key, &request.adds())? { Ok(store) } else { Err(refused()) }
            });
            create(store, key, from)
        }
        // What others left behind is somebody else's to remove.
        Request::Sweep { .. } => names(&[]),
        _ if request.adds() == Adds::Only => answer(path, request, locks, from),
        _ => Err(refused()),
    }
}

/// Whether a client that only adds may create an object. One that is there it would find, and
/// changes nothing.
fn may_create(store: &LocalStore, key: &str, adds: &Adds<'_>) -> Result<bool> {
    let may = match adds {
        Adds::Only => true,
        Adds::More => false,
        Adds::Pin { directory, id } => {
            let is_pin = |name: &String| match Mark::parse(name) {
                Some((other, Mark::Pin(_))) => other == *id,
                _ => false,
            };
            !store.list(directory)?.iter().any(is_pin)
        }
    };
    Ok(may || store.open(key)?.is_some())
}

fn answer(
    path: &Path,
    request: &Request,
    locks: &mut Vec<Box<dyn Lock>>,
    from: &mut dyn Read,
) -> Result<(Reply, Vec<u8>)> {
    let done = (Reply::Done { version: VERSION }, Vec::new());
    let store = || LocalStore::open(path);
    match request {
        Request::Hello { version } if *version == VERSION => Ok(done),
        Request::Hello { version } => Err(Error::Usage(format!(
            "walmgr here speaks version {VERSION} of the protocol, the client {version}"
        ))),
        Request::Open => {
            store()?;
            // The client asks by this whether it still has its locks.
            locks.iter_mut().try_for_each(|lock| lock.check())?;
            Ok(done)
        }
        Request::Init => LocalStore::init(path).map(|_| done),
        Request::Create { key } => create(store(), key, from),
        Request::Write | Request::Seek { .. } | Request::Finish | Request::Abandon => {
            Err(Error::Usage("nothing is being created".to_owned()))
        }
        Request::Settle { key } => store()?.settle(key).map(|()| done),
        Request::Size { key } => {
            let size = store()?.open(key)?.map(|source| source.size());
            Ok((Reply::Size { size }, Vec::new()))
        }
        Request::Read { key, offset, length } => {
            let source = store()?
                .open(key)?
                .ok_or_else(|| Error::Corrupt(format!("object {key} vanished")))?;
            let length = usize::try_from((*length).min(16 << 20)).expect("16 MiB fit into memory");
            let mut bytes = vec![0; length];
            source.read_exact_at(&mut bytes, *offset)?;
            Ok((Reply::Bytes, bytes))
        }
        Request::List { directory } => names(&store()?.list(directory)?),
        Request::Remove { key } => store()?.remove(key).map(|()| done),
        Request::SetAside { key } => store()?.set_aside(key).map(|()| done),
        Request::Lock { key, exclusive } => {
            let mode = if *exclusive { LockMode::Exclusive } else { LockMode::Shared };
            locks.push(store()?.lock(key, mode)?);
            Ok(done)
        }
        Request::Unlock => {
            locks.clear();
            Ok(done)
        }
        Request::Sweep { directory, seconds } => {
            names(&store()?.sweep(directory, Duration::from_secs(*seconds))?)
        }
    }
}

fn names(names: &[String]) -> Result<(Reply, Vec<u8>)> {
    let body = serde_json::to_vec(names).map_err(|error| Error::Failed(error.to_string()))?;
    Ok((Reply::Names, body))
}

/// Take in an object. Its end is always read, also after an error, so that both ends agree on what
/// comes next.
fn create(store: Result<LocalStore>, key: &str, from: &mut dyn Read) -> Result<(Reply, Vec<u8>)> {
    let mut ended = false;
    let outcome = store.and_then(|store| {
        store.create(key, &mut |sink| {
            let failed = || Error::repository(format!("write {key}"));
            loop {
                match next(from)? {
                    (Request::Write, body) => sink.write_all(&body).map_err(failed())?,
                    (Request::Seek { to }, _) => {
                        sink.seek(SeekFrom::Start(to)).map_err(failed())?;
                    }
                    (Request::Finish, _) => {
                        ended = true;
                        return Ok(());
                    }
                    _ => {
                        ended = true;
                        return Err(Error::Failed(format!("{key} was abandoned")));
                    }
                }
            }
        })
    });
    while !ended {
        ended = !matches!(next(from)?.0, Request::Write | Request::Seek { .. });
    }
    Ok((Reply::Created { new: outcome? == Created::New }, Vec::new()))
}

fn next(from: &mut dyn Read) -> Result<(Request, Vec<u8>)> {
    protocol::receive(from)
        .and_then(|frame| frame.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
        .map_err(|error| Error::Failed(format!("the conversation broke off: {error}")))
}
