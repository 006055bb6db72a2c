//! Names of tables as events and PgQ's functions have them: `schema.table`, unquoted, split at the
//! first dot. A name without a dot is in schema `public`.

const DEFAULT_SCHEMA: &str = "public";

/// Schema and table.
pub fn split(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or((DEFAULT_SCHEMA, name))
}

/// The name with its schema.
pub fn full(name: &str) -> String {
    let (schema, table) = split(name);
    format!("{schema}.{table}")
}

/// An identifier in quotes.
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// The name as SQL: schema and table in quotes.
pub fn quoted(name: &str) -> String {
    let (schema, table) = split(name);
    format!("{}.{}", quote(schema), quote(table))
}

/// A string as SQL, safe whatever standard_conforming_strings says.
pub fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{full, literal, quoted, split};

    #[test]
    fn names_are_split_at_the_first_dot() {
        assert_eq!(split("a.b.c"), ("a", "b.c"));
        assert_eq!(split("t"), ("public", "t"));
        assert_eq!(full("t"), "public.t");
        assert_eq!(full("a.t"), "a.t");
        assert_eq!(quoted("A.b\"c.d"), "\"A\".\"b\"\"c.d\"");
    }

    #[test]
    fn a_literal_cannot_be_broken_out_of() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"it's a \"), r"E'it''s a \\'");
    }
}
