//! `name=value&name=value`: the row format of `logutriga`, and of every trigger's urlencoded
//! backup.
//!
//! Letters, digits, `_`, `.` and `-` stand for themselves, a space is `+`, any other byte is `%`
//! and two lower-case hexadecimal digits. A NULL column is its name alone, without `=`.

use super::Buffer;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Which bytes stand for themselves.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut index = 0;
    let mut byte: u8 = 0;
    while index < plain.len() {
        plain[index] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        index += 1;
        byte = byte.wrapping_add(1);
    }
    plain
};

/// Append the encoded form of `bytes`.
pub fn append(out: &mut Buffer, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| !PLAIN[usize::from(byte)]) {
        let (plain, special) = rest.split_at(at);
        out.extend(plain);
        let Some((&byte, after)) = special.split_first() else { return };
        if byte == b' ' {
            out.push(b'+');
        } else {
            out.extend(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        rest = after;
    }
    out.extend(rest);
}

/// One encoded string on its own.
pub fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Buffer::new(0, usize::MAX);
    append(&mut out, bytes);
    out.contents().expect("there is no limit, and memory for a short text").to_vec()
}

/// Writes one row, column by column.
#[derive(Debug)]
pub struct RowWriter<'a> {
    out: &'a mut Buffer,
    first: bool,
}

impl<'a> RowWriter<'a> {
    /// Begin a row at the end of `out`.
    pub fn new(out: &'a mut Buffer) -> Self {
        Self { out, first: true }
    }

    /// A column that is NULL. `label` is its name, encoded already.
    pub fn null(&mut self, label: &[u8]) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b'&');
        }
        self.out.extend(label);
    }

    /// A column with a value. `label` is its name, encoded already.
    pub fn value(&mut self, label: &[u8], value: &[u8]) {
        self.null(label);
        self.out.push(b'=');
        append(self.out, value);
    }
}

/// The text is not urlencoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not urlencoded: a % is not followed by two hexadecimal digits")]
pub struct NotUrlencoded;

/// Undo [`append`]. Accepts upper-case digits too.
///
/// # Errors
///
/// [`NotUrlencoded`] when a `%` is not followed by two hexadecimal digits.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, NotUrlencoded> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| hex_digit(byte)).ok_or(NotUrlencoded);
    while let Some(&byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => digit(rest.next())? << 4 | digit(rest.next())?,
            other => other,
        });
    }
    Ok(out)
}

/// A column of a decoded row: its name, and its value or NULL.
pub type Column = (Vec<u8>, Option<Vec<u8>>);

/// Read a row that a [`RowWriter`] wrote: its columns in order.
///
/// # Errors
///
/// [`NotUrlencoded`] as for [`decode`].
pub fn decode_row(text: &[u8]) -> Result<Vec<Column>, NotUrlencoded> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(|&byte| byte == b'&')
        .map(|column| match column.iter().position(|&byte| byte == b'=') {
            Some(at) => {
                let (name, value) = column.split_at(at);
                Ok((decode(name)?, Some(decode(&value[1..])?)))
            }
            None => Ok((decode(column)?, None)),
        })
        .collect()
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    #[test]
    fn special_bytes_are_lower_case_hex() {
        assert_eq!(encode(b"'\"quoted\\string$%,@\"'"), b"%27%22quoted%5cstring%24%25%2c%40%22%27");
        assert_eq!(encode("ä b".as_bytes()), b"%c3%a4+b");
        assert_eq!(encode(b"A-z_0.9~\x00\xff"), b"A-z_0.9%7e%00%ff");
    }

    #[test]
    fn null_is_a_name_without_equals_sign() {
        let mut out = Buffer::new(0, 100);
        let mut row = RowWriter::new(&mut out);
        row.value(b"id", b"1");
        row.value(b"txt", b"a b");
        row.null(b"val");
        assert_eq!(out.contents(), Ok(&b"id=1&txt=a+b&val"[..]));
    }

    #[test]
    fn half_an_escape_is_refused() {
        assert_eq!(decode(b"a%4"), Err(NotUrlencoded));
        assert_eq!(decode(b"%zz"), Err(NotUrlencoded));
        assert_eq!(decode_row(b"a=%"), Err(NotUrlencoded));
        assert_eq!(decode_row(b""), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn decoding_gives_the_row_back(
            row in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 1..8), any::<Option<Vec<u8>>>()), 1..8)
        ) {
            let mut out = Buffer::new(4, usize::MAX);
            let mut writer = RowWriter::new(&mut out);
            for (name, value) in &row {
                match value {
                    Some(value) => writer.value(&encode(name), value),
                    None => writer.null(&encode(name)),
                }
            }
            prop_assert_eq!(decode_row(out.contents().unwrap()).unwrap(), row);
        }
    }
}
