//! Bytes in whatever encoding as Rust text, and back: no byte is lost, and nothing can fail.
//!
//! A database need not be in UTF-8, and one without an encoding (SQL_ASCII) holds any bytes. Code
//! that hands names from one query to the next, or compares them, does not care what they look
//! like. Valid UTF-8 stands for itself; every other byte becomes one of the last 128 code points,
//! which are for private use. Those themselves, if they occur, are taken for the four bytes they
//! are.

use std::borrow::Cow;

/// The character that stands for byte 0x80.
const FIRST: u32 = 0x10_ff80;

/// Bytes as text.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(|character| byte_of(character).is_none())
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if byte_of(character).is_none() {
                text.push(character);
            } else {
                let mut buffer = [0; 4];
                text.extend(character.encode_utf8(&mut buffer).bytes().map(stand_in));
            }
        }
        text.extend(chunk.invalid().iter().copied().map(stand_in));
    }
    Cow::Owned(text)
}

/// The bytes that [`decode`] was given.
pub fn encode(text: &str) -> Cow<'_, [u8]> {
    if text.chars().all(|character| byte_of(character).is_none()) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Cow::Owned(bytes)
}

/// The character for a byte that is no ASCII.
fn stand_in(byte: u8) -> char {
    let offset = u32::from(byte) - 0x80;
    char::from_u32(FIRST + offset).expect("there are as many characters as bytes above 0x7f")
}

fn byte_of(character: char) -> Option<u8> {
    let offset = u32::from(character).checked_sub(FIRST)?;
    u8::try_from(0x80 + offset).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn utf_8_stands_for_itself() {
        for text in ["", "plain", "café", "キュー", "😀"] {
            assert_eq!(decode(text.as_bytes()), text);
            assert_eq!(&*encode(text), text.as_bytes());
        }
    }

    #[test]
    fn other_bytes_come_back() {
        for bytes in [&b"caf\xe9"[..], b"\xa5\xad\xa5\xe5\xa1\xbc", b"\xff\x80", b"a\xc3"] {
            assert_ne!(decode(bytes), String::from_utf8_lossy(bytes));
            assert_eq!(&*encode(&decode(bytes)), bytes);
        }
    }

    #[test]
    fn the_stand_ins_themselves_come_back() {
        let text = "\u{10ff80}x\u{10ffff}";
        assert_eq!(&*encode(&decode(text.as_bytes())), text.as_bytes());
        assert_eq!(decode(text.as_bytes()).chars().count(), 9);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(bytes: Vec<u8>) {
            let text = decode(&bytes);
            prop_assert_eq!(&*encode(&text), &bytes[..]);
        }
    }
}
