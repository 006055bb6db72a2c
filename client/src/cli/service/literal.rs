//! Values as SQL literals, where a query has no place for parameters.

/// A literal; NULL for none.
pub(super) fn quote_literal(value: Option<&str>) -> String {
    match value {
        None => "null".to_owned(),
        Some(text) if text.contains('\\') => {
            format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
        }
        Some(text) => format!("'{}'", text.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use super::quote_literal;

    #[test]
    fn literals_cannot_be_broken_out_of() {
        assert_eq!(quote_literal(None), "null");
        assert_eq!(quote_literal(Some("a'b")), "'a''b'");
        assert_eq!(quote_literal(Some(r"a\'b")), r"E'a\\''b'");
    }
}
