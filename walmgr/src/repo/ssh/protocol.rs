//! What the two ends say to each other.
//!
//! A frame is two lengths (u32, big endian), a JSON head and a body of bytes. Each request gets one
//! reply, except [`Request::Write`] and [`Request::Seek`], which belong to the [`Request::Create`]
//! before them.

use std::io::{self, ErrorKind, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::repo::KEYS;
use crate::repo::mark::Mark;

/// Version of the protocol; both ends must have the same.
pub(super) const VERSION: u32 = 1;

/// No head is longer, and no body.
const HEAD_LIMIT: u32 = 64 << 10;
const BODY_LIMIT: u32 = 64 << 20;

/// From the client.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// The first of all.
    Hello { version: u32 },
    /// Is it a repository?
    Open,
    /// Make it one.
    Init,
    /// Create an object: writes and seeks follow, then an end.
    Create { key: String },
    /// Bytes of the object, in the body.
    Write,
    /// Go on writing elsewhere.
    Seek { to: u64 },
    /// All is written: make it durable and give it its name.
    Finish,
    /// Forget it.
    Abandon,
    /// [`crate::repo::Store::settle`].
    Settle { key: String },
    /// Size of an object.
    Size { key: String },
    /// A part of an object, whole or an error.
    Read { key: String, offset: u64, length: u32 },
    /// [`crate::repo::Store::list`].
    List { directory: String },
    /// [`crate::repo::Store::remove`].
    Remove { key: String },
    /// [`crate::repo::Store::set_aside`].
    SetAside { key: String },
    /// Take a lock, for as long as this connection lives.
    Lock { key: String, exclusive: bool },
    /// Give up all locks of this connection.
    Unlock,
    /// [`crate::repo::Store::sweep`].
    Sweep { directory: String, seconds: u64 },
}

/// From the server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// Also to [`Request::Hello`].
    Done { version: u32 },
    /// An object was made, or its name was taken.
    Created { new: bool },
    /// [`None`]: the repository is there and has no such object.
    Size { size: Option<u64> },
    /// What was asked for is in the body.
    Bytes,
    /// Names are in the body, as JSON.
    Names,
    /// It failed, with this exit code.
    Failed { code: u8, text: String },
}

/// What a request adds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Adds<'a> {
    /// Nothing but WAL, backups and locks.
    Only,
    /// A pin of a backup, which must be its first: a greater one would take the place of it.
    Pin { directory: &'a str, id: &'a str },
    /// Something else, or it changes or removes.
    More,
}

/// What makes a directory of WAL one.
const README: &str = "/wal/README";

impl Request {
    /// True when it may be sent again after nobody knows whether it was carried out.
    pub(super) fn can_be_repeated(&self) -> bool {
        matches!(
            self,
            Self::Open
                | Self::Init
                | Self::Settle { .. }
                | Self::Size { .. }
                | Self::Read { .. }
                | Self::List { .. }
                | Self::Remove { .. }
                | Self::Sweep { .. }
        )
    }

    /// What a client may ask for that only adds WAL and backups: it leaves all as it is that is in
    /// the repository, and what the rules decide on it.
    pub(super) fn adds(&self) -> Adds<'_> {
        let below = |key: &str, kinds: &[&str]| {
            let mut parts = key.split('/').peekable();
            let is_stanza = parts.next() != Some(KEYS);
            // The part of a system that came by an upgrade; its number is one of Stanza's.
            let is_system = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
            parts.next_if(is_system);
            is_stanza
                && parts.next().is_some_and(|kind| kinds.contains(&kind))
                && parts.next().is_some()
        };
        let only = |yes: bool| if yes { Adds::Only } else { Adds::More };
        match self {
            Self::Create { key } if below(key, &["backup"]) => {
                let (directory, name) = key.rsplit_once('/').unwrap_or_default();
                match Mark::parse(name) {
                    None => Adds::Only,
                    Some((id, Mark::Pin(_))) => Adds::Pin { directory, id },
                    Some((_, Mark::Standalone)) => Adds::More,
                }
            }
            Self::Create { key } => only(below(key, &["wal", "pack"]) && !key.ends_with(README)),
            Self::Lock { key, .. } => only(below(key, &["locks"])),
            Self::Init | Self::Remove { .. } | Self::SetAside { .. } | Self::Sweep { .. } => {
                Adds::More
            }
            _ => Adds::Only,
        }
    }

    /// A key or directory that stays below the repository.
    pub(super) fn is_harmless(&self) -> bool {
        let plain = |key: &str| key.split('/').all(|part| !matches!(part, "" | "." | ".."));
        match self {
            Self::Create { key }
            | Self::Settle { key }
            | Self::Size { key }
            | Self::Read { key, .. }
            | Self::Remove { key }
            | Self::SetAside { key }
            | Self::Lock { key, .. } => plain(key),
            Self::List { directory } | Self::Sweep { directory, .. } => {
                directory.is_empty() || plain(directory)
            }
            Self::Hello { .. }
            | Self::Open
            | Self::Init
            | Self::Write
            | Self::Seek { .. }
            | Self::Finish
            | Self::Abandon
            | Self::Unlock => true,
        }
    }
}

impl Reply {
    /// The reply that carries an error.
    pub(super) fn failed(error: &Error) -> Self {
        Self::Failed { code: error.exit_code(), text: error.to_string() }
    }
}

/// The error that a reply carries; trouble of the other host is trouble of the repository.
pub(super) fn error_of(host: &str, code: u8, text: String) -> Error {
    match code {
        2 => Error::Usage(format!("{host}: {text}")),
        3 => Error::Locked(format!("{host}: {text}")),
        5 => Error::Mismatch(format!("{host}: {text}")),
        6 => Error::Corrupt(format!("{host}: {text}")),
        _ => Error::repository(host)(io::Error::other(
            text.strip_prefix("repository: ").unwrap_or(&text).to_owned(),
        )),
    }
}

/// Send a frame.
pub(super) fn send<T: Serialize>(to: &mut dyn Write, head: &T, body: &[u8]) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
    let mut frame = Vec::with_capacity(8 + head.len());
    frame.extend(length(&head)?.to_be_bytes());
    frame.extend(length(body)?.to_be_bytes());
    frame.extend(head);
    to.write_all(&frame)?;
    to.write_all(body)?;
    to.flush()
}

/// Receive a frame; `None` when the other end has gone between two.
pub(super) fn receive<T: DeserializeOwned>(
    from: &mut dyn Read,
) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut lengths = [0; 8];
    let mut filled = 0;
    while let Some(rest) = lengths.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [a, b, c, d, e, f, g, h] = lengths;
    let (head, body) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    if head > HEAD_LIMIT || body > BODY_LIMIT {
        return Err(io::Error::other(format!(
            "what answers is not walmgr; it begins with {:?}",
            String::from_utf8_lossy(&lengths)
        )));
    }
    let mut take = |length: u32| {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        from.read_exact(&mut bytes).map(|()| bytes)
    };
    let head = serde_json::from_slice(&take(head)?)?;
    Ok(Some((head, take(body)?)))
}

#[cfg(test)]
mod tests {
    use super::{Adds, Request, receive, send};

    #[test]
    fn frames_come_back_and_anything_else_does_not() {
        let mut bytes = Vec::new();
        send(&mut bytes, &Request::Seek { to: 7 }, b"body").unwrap();
        let (request, body) = receive::<Request>(&mut bytes.as_slice()).unwrap().unwrap();
        assert!(matches!(request, Request::Seek { to: 7 }));
        assert_eq!(body, b"body");
        assert!(receive::<Request>(&mut [].as_slice()).unwrap().is_none());
        for cut in 1..bytes.len() {
            assert!(receive::<Request>(&mut &bytes[..cut]).is_err(), "{cut}");
        }
        let error = receive::<Request>(&mut b"bash: walmgr: not found".as_slice()).unwrap_err();
        assert!(error.to_string().contains("bash: wa"), "{error}");
    }

    #[test]
    fn what_only_adds_is_told_from_the_rest() {
        let only = |request: Request| request.adds() == Adds::Only;
        let create = |key: &str| only(Request::Create { key: key.to_owned() });
        for key in ["wal/00000001/00000000/x", "pack/ID/00000", "backup/ID.json"] {
            assert!(create(&format!("main/{key}")), "{key}");
            assert!(create(&format!("main/2/{key}")), "{key} after an upgrade");
            assert!(!create(&format!("main/2/3/{key}")) && !create(&format!("main/x/{key}")));
        }
        for key in ["stanza.json", "wal", "wal/README", "locks/x", "backup/ID.standalone"] {
            assert!(!create(&format!("main/{key}")), "{key}");
            assert!(!create(&format!("main/2/{key}")), "{key} after an upgrade");
        }
        for key in ["walmgr.repo", "main/2", "walmgr.keys/ID.json", "walmgr.keys/wal/x"] {
            assert!(!create(key), "{key}");
        }
        for directory in ["main/backup", "main/2/backup"] {
            let pin = Request::Create { key: format!("{directory}/ID.pin.7") };
            assert_eq!(pin.adds(), Adds::Pin { directory, id: "ID" });
        }
        assert!(!only(Request::Init));
        assert!(!only(Request::Remove { key: "main/wal/x".to_owned() }));
        let lock = |key: &str| only(Request::Lock { key: key.to_owned(), exclusive: true });
        assert!(lock("main/locks/backup") && lock("main/2/locks/backup"));
        assert!(!lock("walmgr.repo") && !lock("walmgr.keys/locks/keys"));
    }

    #[test]
    fn keys_stay_below_the_repository() {
        let size = |key: &str| Request::Size { key: key.to_owned() };
        assert!(size("main/wal/README").is_harmless());
        for key in ["", "/etc/passwd", "../x", "main/../../x", "a//b", "."] {
            assert!(!size(key).is_harmless(), "{key}");
        }
    }
}
