//! SQL literals and the statement fragments of `sqltriga`.

use super::Buffer;

/// Append `bytes` as an SQL string literal, as PostgreSQL's `quote_literal` writes it: `'…'`, or
/// `E'…'` where there is a backslash, which reads the same whatever `standard_conforming_strings`
/// says.
pub fn append_literal(out: &mut Buffer, bytes: &[u8]) {
    if bytes.contains(&b'\\') {
        out.push(b'E');
    }
    out.push(b'\'');
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\'' || byte == b'\\') {
        let (plain, special) = rest.split_at(at + 1);
        out.extend(plain);
        out.extend(&plain[at..]);
        rest = special;
    }
    out.extend(rest);
    out.push(b'\'');
}

/// Writes `name = value` items with a separator between them.
///
/// `c1='v',c2=NULL` of an UPDATE and `k1='o' and k2='o'` of a WHERE clause are both made of it.
#[derive(Debug)]
pub struct Items<'a> {
    out: &'a mut Buffer,
    separator: &'static [u8],
    first: bool,
}

impl<'a> Items<'a> {
    /// Begin a list at the end of `out`.
    pub fn new(out: &'a mut Buffer, separator: &'static [u8]) -> Self {
        Self { out, separator, first: true }
    }

    /// True until the first item is written.
    pub fn is_empty(&self) -> bool {
        self.first
    }

    /// An item without name: an element of a `values` list. None is written `null`.
    pub fn value(&mut self, value: Option<&[u8]>) {
        self.separate();
        match value {
            Some(value) => append_literal(self.out, value),
            None => self.out.extend(b"null"),
        }
    }

    /// `identifier='value'`; None is written `NULL`. The identifier is quoted already where it must
    /// be.
    pub fn assignment(&mut self, identifier: &[u8], value: Option<&[u8]>) {
        self.separate();
        self.out.extend(identifier);
        self.out.push(b'=');
        match value {
            Some(value) => append_literal(self.out, value),
            None => self.out.extend(b"NULL"),
        }
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.extend(self.separator);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn literal(bytes: &[u8]) -> Vec<u8> {
        let mut out = Buffer::new(0, usize::MAX);
        append_literal(&mut out, bytes);
        out.contents().unwrap().to_vec()
    }

    /// The value of a literal, read as PostgreSQL does.
    fn read(literal: &[u8]) -> Vec<u8> {
        let (escapes, quoted) = match literal.strip_prefix(b"E") {
            Some(quoted) => (true, quoted),
            None => (false, literal),
        };
        let inner = quoted.strip_prefix(b"'").unwrap().strip_suffix(b"'").unwrap();
        let mut value = Vec::new();
        let mut rest = inner.iter();
        while let Some(&byte) = rest.next() {
            value.push(byte);
            if byte == b'\'' || byte == b'\\' && escapes {
                assert_eq!(rest.next(), Some(&byte));
            }
        }
        value
    }

    #[test]
    fn a_backslash_makes_an_escape_literal() {
        assert_eq!(literal(b"it's"), b"'it''s'");
        assert_eq!(literal(b"\\x00ff01"), br"E'\\x00ff01'");
        assert_eq!(literal(b"'\""), br#"'''"'"#);
    }

    #[test]
    fn items_are_separated() {
        let mut out = Buffer::new(0, 100);
        let mut items = Items::new(&mut out, b" and ");
        assert!(items.is_empty());
        items.assignment(b"\"B c\"", Some(b"1"));
        items.assignment(b"d", None);
        items.value(None);
        assert_eq!(out.contents(), Ok(&b"\"B c\"='1' and d=NULL and null"[..]));
    }

    proptest! {
        #[test]
        fn reading_a_literal_gives_the_value_back(bytes in any::<Vec<u8>>(), text in "[a'\\\\]*") {
            prop_assert_eq!(read(&literal(&bytes)), bytes);
            prop_assert_eq!(read(&literal(text.as_bytes())), text.as_bytes());
        }
    }
}
