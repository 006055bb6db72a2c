//! Column lists of `ignore=` and `pkey=`.

/// True when `name` stands in the list as an item.
///
/// Items are separated by commas; blanks around and between items do not count. Names are compared
/// as they are, without folding or unquoting, so a name with blanks in it can be listed too.
pub fn contains(list: &[u8], name: &[u8]) -> bool {
    if name.is_empty() || name.len() > list.len() {
        return false;
    }
    (0..=list.len() - name.len()).any(|start| {
        let end = start + name.len();
        list.get(start..end) == Some(name)
            && (start == 0 || is_boundary(list.get(start - 1)))
            && (end == list.len() || is_boundary(list.get(end)))
    })
}

/// The items as they are written, blanks included: how `jsontriga` reports them.
pub fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',')
}

fn is_boundary(byte: Option<&u8>) -> bool {
    byte.is_some_and(|&byte| byte == b',' || byte == 0x0b || byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn blanks_around_items_do_not_count() {
        assert!(contains(b" a ,\tb c", b"a"));
        assert!(contains(b" a ,\tb c", b"b c"));
        assert!(contains(b" a ,\tb c", b"c"));
        assert!(!contains(b"ab,c", b"a"));
        assert!(!contains(b"ab,c", b"b"));
        assert!(!contains(b"A", b"a"));
        assert!(!contains(b"", b"a"));
        assert!(!contains(b"a", b""));
    }

    #[test]
    fn items_keep_their_blanks() {
        assert_eq!(items(b" a ,b").collect::<Vec<_>>(), [&b" a "[..], b"b"]);
        assert_eq!(items(b"").collect::<Vec<_>>(), [b""]);
    }

    proptest! {
        #[test]
        fn exactly_the_listed_names_are_found(
            names in prop::collection::btree_set("[a-c_é]{1,3}", 1..6), other in "[a-c_é]{1,3}"
        ) {
            let list = names.iter().map(String::as_str).collect::<Vec<_>>().join(" , ");
            for name in &names {
                prop_assert!(contains(list.as_bytes(), name.as_bytes()));
            }
            prop_assert_eq!(contains(list.as_bytes(), other.as_bytes()), names.contains(&other));
        }
    }
}
