//! Statements over arrays of text, one array a column.

use std::fmt::Write;

/// An identifier in quotes.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `rows from (unnest($1), …) as e (c1, …)`.
fn source(columns: usize) -> String {
    let arrays: Vec<_> = (1..=columns).map(|n| format!("pg_catalog.unnest(${n})")).collect();
    let names: Vec<_> = (1..=columns).map(|n| format!("c{n}")).collect();
    format!("rows from ({}) as e ({})", arrays.join(", "), names.join(", "))
}

/// `insert … select … on conflict (key) do update`. Without a key, a plain insert.
pub(super) fn insert<'t>(
    table: &str,
    columns: &[&str],
    type_of: impl Fn(&str) -> &'t str,
    key: &[&str],
) -> String {
    let names: Vec<_> = columns.iter().map(|name| quote(name)).collect();
    let values: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, name)| format!("e.c{}::{}", index + 1, type_of(name)))
        .collect();
    let mut sql = format!(
        "insert into {table} ({}) overriding system value select {} from {}",
        names.join(", "),
        values.join(", "),
        source(columns.len())
    );
    if !key.is_empty() {
        let keys: Vec<_> = key.iter().map(|name| quote(name)).collect();
        let _ = write!(sql, " on conflict ({}) do ", keys.join(", "));
        let changed: Vec<_> = columns
            .iter()
            .filter(|name| !key.contains(name))
            .map(|name| format!("{0} = excluded.{0}", quote(name)))
            .collect();
        if changed.is_empty() {
            sql.push_str("nothing");
        } else {
            let _ = write!(sql, "update set {}", changed.join(", "));
        }
    }
    sql
}

/// `delete … using …` by key.
pub(super) fn delete<'t>(table: &str, key: &[&str], type_of: impl Fn(&str) -> &'t str) -> String {
    let matches: Vec<_> = key
        .iter()
        .enumerate()
        .map(|(index, name)| format!("t.{} = e.c{}::{}", quote(name), index + 1, type_of(name)))
        .collect();
    format!("delete from {table} t using {} where {}", source(key.len()), matches.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::{delete, insert};

    #[test]
    fn statements_quote_names_and_cast_values() {
        assert_eq!(
            insert("\"a\".\"b\"", &["id", "b c"], |_| "int", &["id"]),
            "insert into \"a\".\"b\" (\"id\", \"b c\") overriding system value select e.c1::int, e.c2::int \
             from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) as e (c1, c2) \
             on conflict (\"id\") do update set \"b c\" = excluded.\"b c\""
        );
        assert_eq!(
            delete("t", &["a\"b"], |_| "text"),
            "delete from t t using rows from (pg_catalog.unnest($1)) as e (c1) where t.\"a\"\"b\" = e.c1::text"
        );
    }
}
