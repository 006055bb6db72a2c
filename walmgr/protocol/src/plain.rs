//! A push for those who have no allocator: a request of plain bytes, and the two answers that can
//! be told without parsing.

/// The daemon has made the file durable in the repository.
pub const DONE: &[u8; ANSWER] = b"\"Done\"\n";

/// The daemon is at it; the answer follows.
pub const BUSY: &[u8; ANSWER] = b"\"Busy\"\n";

/// Length of both: as many bytes tell whether it is one of them, or anything else.
pub const ANSWER: usize = 7;

/// The pieces of a request to store the file at a path, which one after the other are its line.
///
/// `directory` is what a relative path is relative to; of an absolute one it is not used. `None`
/// when the path has no name, or when there are bytes that do not mean themselves in JSON.
#[must_use]
pub fn push<'a>(config: &'a [u8], directory: &'a [u8], path: &'a [u8]) -> Option<[&'a [u8]; 9]> {
    let name = path.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty())?;
    let (directory, slash): (&[u8], &[u8]) =
        if path.starts_with(b"/") { (b"", b"") } else { (directory, b"/") };
    if ![config, directory, path].into_iter().flatten().all(is_plain) {
        return None;
    }
    Some([
        br#"{"config":""#,
        config,
        br#"","verb":"Push","name":""#,
        name,
        br#"","path":""#,
        directory,
        slash,
        path,
        b"\"}\n",
    ])
}

fn is_plain(byte: &u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::{BUSY, DONE, push};
    use crate::{Reply, Request, Verb, line, parse};

    fn pushed(config: &[u8], directory: &[u8], path: &[u8]) -> Option<Vec<u8>> {
        push(config, directory, path).map(|pieces| pieces.concat())
    }

    #[test]
    fn a_relative_path_is_made_absolute() {
        let expected = "{\"config\":\"/c.toml\",\"verb\":\"Push\",\"name\":\"1\",\
                        \"path\":\"/data/pg_wal/1\"}\n";
        for (directory, path) in [("/data", "pg_wal/1"), ("/elsewhere", "/data/pg_wal/1")] {
            let line = pushed(b"/c.toml", directory.as_bytes(), path.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }

    #[test]
    fn what_does_not_mean_itself_in_json_is_left_to_others() {
        for odd in ["\"", "\\", "\n", "\0", "ä", "\u{7f}"] {
            let text = format!("x{odd}x");
            assert_eq!(push(text.as_bytes(), b"/d", b"1"), None, "{odd:?}");
            assert_eq!(push(b"/c", text.as_bytes(), b"1"), None, "{odd:?}");
            assert_eq!(push(b"/c", b"/d", text.as_bytes()), None, "{odd:?}");
        }
        assert_eq!(push(b"/c", b"/d", b"pg_wal/"), None);
    }

    #[test]
    fn the_two_answers_are_what_the_daemon_sends() {
        assert_eq!(line(&Reply::Done).unwrap(), DONE);
        assert_eq!(line(&Reply::Busy).unwrap(), BUSY);
    }

    proptest! {
        #[test]
        fn a_request_is_understood_as_it_was_meant(
            config in "/[ -~]*", directory in "/[ -~]*", path in "[ -~]*[ -.0-~]",
        ) {
            let said = pushed(config.as_bytes(), directory.as_bytes(), path.as_bytes());
            let plain = |text: &str| !text.contains(['"', '\\']);
            let is_absolute = path.starts_with('/');
            let all = plain(&config) && plain(&path) && (is_absolute || plain(&directory));
            prop_assert_eq!(said.is_some(), all);
            if let Some(said) = said {
                let whole = if is_absolute { path.clone() } else { format!("{directory}/{path}") };
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                let meant = Request {
                    config: config.into(), verb: Verb::Push, name, path: whole.into(),
                };
                prop_assert_eq!(parse::<Request>(&said).unwrap(), meant);
                prop_assert_eq!(said.iter().position(|byte| *byte == b'\n'), Some(said.len() - 1));
            }
        }

        #[test]
        fn no_other_answer_begins_as_the_two_do(
            code: u8, text: String, place in "/[ -~]*", which in 0..5_usize,
        ) {
            let others = [
                Reply::Ready(place.into()),
                Reply::Failed(code, text),
                Reply::Absent,
                Reply::Hole,
                Reply::NotMine,
            ];
            let said = line(&others[which]).unwrap();
            prop_assert!(!said.starts_with(DONE) && !said.starts_with(BUSY));
        }
    }

    #[test]
    fn a_name_is_the_last_part_of_a_path() {
        let line = pushed(b"/c", b"/d", b"a/b/c").unwrap();
        let request: Request = parse(&line).unwrap();
        assert_eq!(request.name, "c");
        assert_eq!(request.path, Path::new("/d/a/b/c"));
    }
}
