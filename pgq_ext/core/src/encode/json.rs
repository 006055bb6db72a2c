//! `{"name":value,"name":value}`: the row format of `jsontriga`.

use super::Buffer;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Append `bytes` as a JSON string, quotes included, escaped as PostgreSQL's `escape_json` does.
///
/// Bytes above 127 are copied, so the result is in the encoding that the input was in.
pub fn append_string(out: &mut Buffer, bytes: &[u8]) {
    out.push(b'"');
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| needs_escape(byte)) {
        let (plain, special) = rest.split_at(at);
        out.extend(plain);
        let Some((&byte, after)) = special.split_first() else { return };
        match byte {
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            b'"' => out.extend(b"\\\""),
            b'\\' => out.extend(b"\\\\"),
            control => out.extend(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(control >> 4)],
                HEX[usize::from(control & 15)],
            ]),
        }
        rest = after;
    }
    out.extend(rest);
    out.push(b'"');
}

/// One JSON string on its own.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Buffer::new(0, usize::MAX);
    append_string(&mut out, bytes);
    out.contents().expect("there is no limit, and memory for a short text").to_vec()
}

#[inline]
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Writes one row as an object, column by column. Labels are names as JSON strings, see [`string`].
#[derive(Debug)]
pub struct RowWriter<'a> {
    out: &'a mut Buffer,
    first: bool,
}

impl<'a> RowWriter<'a> {
    /// Begin an object at the end of `out`.
    pub fn new(out: &'a mut Buffer) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// A column that is NULL.
    pub fn null(&mut self, label: &[u8]) {
        self.bare(label, b"null");
    }

    /// A column whose text is a JSON value as it is: a number, `true`.
    pub fn bare(&mut self, label: &[u8], value: &[u8]) {
        self.label(label);
        self.out.extend(value);
    }

    /// A column whose text becomes a JSON string.
    pub fn string(&mut self, label: &[u8], value: &[u8]) {
        self.label(label);
        append_string(self.out, value);
    }

    /// Close the object.
    pub fn finish(self) {
        self.out.push(b'}');
    }

    fn label(&mut self, label: &[u8]) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.extend(label);
        self.out.push(b':');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

    #[test]
    fn control_characters_have_escapes() {
        assert_eq!(string(b"a\x08\x0c\n\r\t\"\\\x01\x1f"), br#""a\b\f\n\r\t\"\\\u0001\u001f""#);
        assert_eq!(string(b"\xe4\x7f/"), b"\"\xe4\x7f/\"");
    }

    #[test]
    fn a_row_without_columns_is_an_empty_object() {
        let mut out = Buffer::new(0, 10);
        RowWriter::new(&mut out).finish();
        assert_eq!(out.contents(), Ok(&b"{}"[..]));
    }

    /// NULL, a number or a text.
    fn value() -> impl Strategy<Value = Option<Result<i64, String>>> {
        let either = |(text, number, is_number)| if is_number { Ok(number) } else { Err(text) };
        proptest::option::of(any::<(String, i64, bool)>().prop_map(either))
    }

    proptest! {
        #[test]
        fn a_json_parser_gives_the_row_back(
            row in prop::collection::btree_map(".*", value(), 0..8)
        ) {
            let mut out = Buffer::new(4, usize::MAX);
            let mut writer = RowWriter::new(&mut out);
            for (name, value) in &row {
                let label = string(name.as_bytes());
                match value {
                    None => writer.null(&label),
                    Some(Ok(number)) => writer.bare(&label, number.to_string().as_bytes()),
                    Some(Err(text)) => writer.string(&label, text.as_bytes()),
                }
            }
            writer.finish();
            let parsed: serde_json::Value =
                serde_json::from_slice(out.contents().unwrap()).unwrap();
            let read = |value: Option<Result<i64, String>>| match value {
                None => serde_json::Value::Null,
                Some(Ok(number)) => number.into(),
                Some(Err(text)) => text.into(),
            };
            let expected: serde_json::Map<_, _> =
                row.into_iter().map(|(name, value)| (name, read(value))).collect();
            prop_assert_eq!(parsed, serde_json::Value::Object(expected));
        }
    }
}
