//! Names of files as text, for JSON: what is not UTF-8 is written in hexadecimal.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the hexadecimal form begins with. Other names that begin with its first character take that
/// form too.
const HEX: &str = "@hex/";

/// The text of a path.
pub(crate) fn to_text(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.starts_with('@') => text.to_owned(),
        _ => {
            let bytes = path.as_os_str().as_bytes();
            bytes.iter().fold(HEX.to_owned(), |text, byte| text + &format!("{byte:02x}"))
        }
    }
}

/// The path of a text; `None` for none that [`to_text`] makes.
pub(crate) fn to_path(text: &str) -> Option<PathBuf> {
    let Some(digits) = text.strip_prefix(HEX) else { return Some(PathBuf::from(text)) };
    Some(PathBuf::from(OsStr::from_bytes(&bytes(digits)?)))
}

/// The hexadecimal digits of a name that has that form.
pub(crate) fn as_hex(text: &str) -> Option<&str> {
    text.strip_prefix(HEX)
}

/// True for a text that names something below whatever it is taken relative to.
pub(crate) fn is_plain(text: &str) -> bool {
    to_path(text).is_some_and(|path| {
        let bytes = path.as_os_str().as_bytes();
        bytes
            .split(|byte| *byte == b'/')
            .all(|part| !matches!(part, b"" | b"." | b"..") && !part.contains(&0))
    })
}

/// Bytes from their hexadecimal digits.
pub(crate) fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::{is_plain, to_path, to_text};

    #[test]
    fn any_name_comes_back() {
        for name in [&b"base/1"[..], b"a\xff/b", "ü \n\"".as_bytes(), b"@config/x", b"@hex/61"] {
            let path = Path::new(OsStr::from_bytes(name));
            assert_eq!(to_path(&to_text(path)).unwrap(), path);
        }
        assert_eq!(to_text(Path::new("base/1")), "base/1");
        assert_eq!(to_path("@hex/6"), None);
    }

    #[test]
    fn what_leads_elsewhere_is_not_plain() {
        let hidden = to_text(Path::new(OsStr::from_bytes(b"\xff/../../x")));
        let absolute = to_text(Path::new(OsStr::from_bytes(b"/\xff")));
        for text in
            ["", "/etc", "..", "a/../b", "a//b", "./a", "a\0b", &hidden, &absolute, "@hex/zz"]
        {
            assert!(!is_plain(text), "{text}");
        }
        assert!(is_plain("a..b/.c"));
    }
}
