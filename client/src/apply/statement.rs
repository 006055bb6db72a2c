//! Statements over arrays of text, one array a column; and over the values of a single row, as
//! literals.
//!
//! Values are cast to the column's type without its length: a value that is too long is an error,
//! not cut.

use pgq_connect::quote::{identifier, nullable};

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
    let names: Vec<_> = columns.iter().map(|name| identifier(name)).collect();
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
    sql.push_str(&on_conflict(columns, key));
    sql
}

fn on_conflict(columns: &[&str], key: &[&str]) -> String {
    if key.is_empty() {
        return String::new();
    }
    let keys: Vec<_> = key.iter().map(|name| identifier(name)).collect();
    let changed: Vec<_> = columns
        .iter()
        .filter(|name| !key.contains(name))
        .map(|name| format!("{0} = excluded.{0}", identifier(name)))
        .collect();
    let keys = keys.join(", ");
    if changed.is_empty() {
        format!(" on conflict ({keys}) do nothing")
    } else {
        format!(" on conflict ({keys}) do update set {}", changed.join(", "))
    }
}

/// `insert … values (…) on conflict (key) do update`. Without a key, a plain insert.
pub(super) fn insert_row<'t>(
    table: &str,
    row: &[(&str, Option<&str>)],
    type_of: impl Fn(&str) -> &'t str,
    key: &[&str],
) -> String {
    let columns: Vec<_> = row.iter().map(|(name, _)| *name).collect();
    let names: Vec<_> = columns.iter().map(|name| identifier(name)).collect();
    let values: Vec<_> = row.iter().map(|(name, value)| literal(*value, type_of(name))).collect();
    format!(
        "insert into {table} ({}) overriding system value values ({}){}",
        names.join(", "),
        values.join(", "),
        on_conflict(&columns, key)
    )
}

/// `delete … where` the key has these values.
pub(super) fn delete_row<'t>(
    table: &str,
    key: &[(&str, Option<&str>)],
    type_of: impl Fn(&str) -> &'t str,
    equals: impl Fn(&str) -> &'t str,
) -> String {
    let matches: Vec<_> = key
        .iter()
        .map(|(name, value)| {
            format!("{} {} {}", identifier(name), equals(name), literal(*value, type_of(name)))
        })
        .collect();
    format!("delete from {table} where {}", matches.join(" and "))
}

/// A value of a type.
fn literal(value: Option<&str>, of_type: &str) -> String {
    format!("{}::{of_type}", nullable(value))
}

/// `delete … using …` by key.
pub(super) fn delete<'t>(
    table: &str,
    key: &[&str],
    type_of: impl Fn(&str) -> &'t str,
    equals: impl Fn(&str) -> &'t str,
) -> String {
    let matches: Vec<_> = key
        .iter()
        .enumerate()
        .map(|(index, name)| {
            format!("t.{} {} e.c{}::{}", identifier(name), equals(name), index + 1, type_of(name))
        })
        .collect();
    format!("delete from {table} t using {} where {}", source(key.len()), matches.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::{delete, delete_row, insert, insert_row};

    #[test]
    fn statements_quote_names_and_cast_values() {
        assert_eq!(
            insert("\"a\".\"b\"", &["id", "b c"], |_| "int", &["id"]),
            "insert into \"a\".\"b\" (\"id\", \"b c\") overriding system value select e.c1::int, e.c2::int \
             from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) as e (c1, c2) \
             on conflict (\"id\") do update set \"b c\" = excluded.\"b c\""
        );
        assert_eq!(
            delete("t", &["a\"b"], |_| "text", |_| "operator(x.=)"),
            "delete from t t using rows from (pg_catalog.unnest($1)) as e (c1) where t.\"a\"\"b\" operator(x.=) e.c1::text"
        );
    }

    #[test]
    fn rows_become_literals_that_cannot_be_broken_out_of() {
        let row = [("id", Some("1")), ("b c", Some(r"it's a \")), ("n", None)];
        assert_eq!(
            insert_row("t", &row, |_| "text", &["id"]),
            "insert into t (\"id\", \"b c\", \"n\") overriding system value values ('1'::text, E'it''s a \\\\'::text, null::text) \
             on conflict (\"id\") do update set \"b c\" = excluded.\"b c\", \"n\" = excluded.\"n\""
        );
        assert_eq!(
            delete_row("t", &row[..2], |_| "text", |_| "="),
            "delete from t where \"id\" = '1'::text and \"b c\" = E'it''s a \\\\'::text"
        );
        assert!(insert_row("t", &row[..1], |_| "int", &["id"]).ends_with("do nothing"));
    }
}
