//! The messages.

use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest line that is read, in bytes.
pub const LIMIT: u16 = u16::MAX;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Configuration file of the client; a daemon of another one does not answer.
    pub config: PathBuf,
    /// Push or get.
    pub verb: Verb,
    /// Name of the WAL file.
    pub name: String,
    /// Absolute path of the WAL file to push; of one to get, where the client will move it.
    pub path: PathBuf,
}

/// Push or get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// Store the file.
    Push,
    /// Bring the file.
    Get,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Stored and durable.
    Done,
    /// Verified, and here to be renamed by the client. The daemon never writes to the client's
    /// path: a client that has given up on it must not find its file replaced later.
    Ready(PathBuf),
    /// The archive says with authority that there is no such file.
    Absent,
    /// It is missing between others.
    Hole,
    /// It failed: exit code and message.
    Failed(u8, String),
    /// It is at it; the answer follows.
    Busy,
    /// The daemon is not for this client.
    NotMine,
}

/// A message as a line.
///
/// # Errors
/// For a path that is not UTF-8.
pub fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// The message of a line.
///
/// # Errors
/// For nonsense.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(line)?)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::{Reply, Request, Verb, line, parse};

    /// Daemon and clients of two releases talk to each other while one of them is installed.
    #[test]
    fn the_form_is_that_of_all_releases() {
        for (text, reply) in [
            ("\"Done\"\n", Reply::Done),
            ("\"Busy\"\n", Reply::Busy),
            ("\"Absent\"\n", Reply::Absent),
            ("\"Hole\"\n", Reply::Hole),
            ("\"NotMine\"\n", Reply::NotMine),
            ("{\"Ready\":\"/s/1\"}\n", Reply::Ready("/s/1".into())),
            ("{\"Failed\":[4,\"no room\"]}\n", Reply::Failed(4, "no room".to_owned())),
        ] {
            assert_eq!(String::from_utf8(line(&reply).unwrap()).unwrap(), text);
            assert_eq!(parse::<Reply>(text.as_bytes()).unwrap(), reply);
        }
        // In any order: the server library of 4.0 sorts its keys.
        let text = b"{\"config\":\"/c\",\"name\":\"1\",\"path\":\"/d/1\",\"verb\":\"Get\"}\n";
        let request = Request {
            config: "/c".into(),
            verb: Verb::Get,
            name: "1".to_owned(),
            path: "/d/1".into(),
        };
        assert_eq!(parse::<Request>(text).unwrap(), request);
        assert!(parse::<Reply>(b"\"Maybe\"\n").is_err());
    }

    #[test]
    fn a_path_that_is_no_text_cannot_be_told() {
        let path = OsStr::from_bytes(b"/\xff").into();
        assert!(line(&Reply::Ready(path)).is_err());
    }

    proptest! {
        #[test]
        fn messages_are_one_line_and_mean_what_they_meant(
            code: u8, message: String, config: String, name: String, path: String, push: bool,
        ) {
            let verb = if push { Verb::Push } else { Verb::Get };
            let request = Request { config: config.into(), verb, name, path: path.into() };
            let said = line(&request).unwrap();
            prop_assert_eq!(parse::<Request>(&said).unwrap(), request);
            prop_assert_eq!(said.iter().position(|byte| *byte == b'\n'), Some(said.len() - 1));
            let reply = Reply::Failed(code, message);
            let said = line(&reply).unwrap();
            prop_assert_eq!(parse::<Reply>(&said).unwrap(), reply);
            prop_assert_eq!(said.iter().position(|byte| *byte == b'\n'), Some(said.len() - 1));
        }

        #[test]
        fn nonsense_is_no_message(line: Vec<u8>) {
            prop_assert!(parse::<Request>(&line).is_err());
        }
    }
}
