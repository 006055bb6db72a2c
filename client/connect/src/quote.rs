//! Values and names as parts of statements and files, where there is no place for parameters.
//!
//! Whatever the value is, what comes out is one literal, one identifier or one setting.

/// An SQL literal, whatever `standard_conforming_strings` says.
pub fn literal(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    match doubled.contains('\\') {
        true => format!("E'{}'", doubled.replace('\\', "\\\\")),
        false => format!("'{doubled}'"),
    }
}

/// An SQL literal, or `null`.
pub fn nullable(value: Option<&str>) -> String {
    value.map_or_else(|| "null".to_owned(), literal)
}

/// An SQL identifier, in quotes, so neither folded nor taken for a keyword.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value in `postgresql.conf`, where a line break would end it.
pub fn setting(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('\'', "''");
    format!("'{}'", escaped.replace('\n', "\\n").replace('\r', "\\r"))
}

/// An option of a connection string in key/value form.
pub fn option(key: &str, value: &str) -> String {
    format!("{key}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{identifier, literal, nullable, option, setting};
    use crate::Conninfo;

    #[test]
    fn nothing_is_broken_out_of() {
        assert_eq!(nullable(None), "null");
        assert_eq!(nullable(Some("a'b")), "'a''b'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(setting("it's \\ two\nlines"), "'it''s \\\\ two\\nlines'");
        assert_eq!(option("dbname", "it's \\ me"), "dbname='it\\'s \\\\ me'");
    }

    proptest! {
        #[test]
        fn an_option_is_read_as_it_was_written(value in any::<String>()) {
            let conninfo = Conninfo::parse(&option("dbname", &value)).unwrap();
            prop_assert_eq!(conninfo.get("dbname").unwrap_or_default(), value);
        }

        #[test]
        fn a_setting_is_one_line(value in any::<String>()) {
            prop_assert!(!setting(&value).contains(['\n', '\r']));
        }
    }
}
