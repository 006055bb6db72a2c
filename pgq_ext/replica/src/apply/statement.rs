//! Statements over arrays of text, one array a column; and over the values of a single row, as
//! literals.
//!
//! Values are cast to the column's type without its length: a value that is too long is an error,
//! not cut.

use crate::name::{self, quote};

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
    sql.push_str(&on_conflict(columns, key));
    sql
}

fn on_conflict(columns: &[&str], key: &[&str]) -> String {
    if key.is_empty() {
        return String::new();
    }
    let keys: Vec<_> = key.iter().map(|name| quote(name)).collect();
    let changed: Vec<_> = columns
        .iter()
        .filter(|name| !key.contains(name))
        .map(|name| format!("{0} = excluded.{0}", quote(name)))
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
    let names: Vec<_> = columns.iter().map(|name| quote(name)).collect();
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
    format!("delete from {table} where {}", matches(key, type_of, equals))
}

fn matches<'t>(
    key: &[(&str, Option<&str>)],
    type_of: impl Fn(&str) -> &'t str,
    equals: impl Fn(&str) -> &'t str,
) -> String {
    let matches: Vec<_> = key
        .iter()
        .map(|(name, value)| {
            format!("{} {} {}", quote(name), equals(name), literal(*value, type_of(name)))
        })
        .collect();
    matches.join(" and ")
}

/// `update … set … where` the key has these values; none when there is nothing but the key.
pub(super) fn update_row<'t>(
    table: &str,
    row: &[(&str, Option<&str>)],
    key: &[(&str, Option<&str>)],
    type_of: impl Fn(&str) -> &'t str,
    equals: impl Fn(&str) -> &'t str,
) -> Option<String> {
    let sets: Vec<_> = row
        .iter()
        .filter(|(name, _)| !key.iter().any(|(own, _)| own == name))
        .map(|(name, value)| format!("{} = {}", quote(name), literal(*value, type_of(name))))
        .collect();
    (!sets.is_empty()).then(|| {
        let matches = matches(key, type_of, equals);
        format!("update {table} set {} where {matches}", sets.join(", "))
    })
}

/// `update … set … from …` by key; none when there is nothing but the key. Its arrays are those of
/// the key's columns, then those of `columns`.
pub(super) fn update<'t>(
    table: &str,
    key: &[&str],
    columns: &[&str],
    type_of: impl Fn(&str) -> &'t str,
    equals: impl Fn(&str) -> &'t str,
) -> Option<String> {
    let first = key.len() + 1;
    let sets: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, name)| format!("{} = e.c{}::{}", quote(name), first + index, type_of(name)))
        .collect();
    (!sets.is_empty()).then(|| {
        format!(
            "update {table} t set {} from {} where {}",
            sets.join(", "),
            source(key.len() + columns.len()),
            joined(key, type_of, equals)
        )
    })
}

/// The row of `t` that the first arrays name.
fn joined<'t>(
    key: &[&str],
    type_of: impl Fn(&str) -> &'t str,
    equals: impl Fn(&str) -> &'t str,
) -> String {
    let matches: Vec<_> = key
        .iter()
        .enumerate()
        .map(|(index, name)| {
            format!("t.{} {} e.c{}::{}", quote(name), equals(name), index + 1, type_of(name))
        })
        .collect();
    matches.join(" and ")
}

/// The one text of each of these values, in their order. A column is what makes one text of its
/// values, with % for the value, and their type.
pub(super) fn one_texts(columns: &[(&str, &str)]) -> String {
    let texts: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, (one_text, of_type))| {
            one_text.replace('%', &format!("e.c{}::{of_type}", index + 1))
        })
        .collect();
    let arrays: Vec<_> = (1..=columns.len()).map(|n| format!("pg_catalog.unnest(${n})")).collect();
    let names: Vec<_> = (1..=columns.len()).map(|n| format!("c{n}")).collect();
    format!(
        "select {} from rows from ({}) with ordinality as e ({}, n) order by e.n",
        texts.join(", "),
        arrays.join(", "),
        names.join(", ")
    )
}

/// A value of a type.
fn literal(value: Option<&str>, of_type: &str) -> String {
    match value {
        None => format!("null::{of_type}"),
        Some(text) => format!("{}::{of_type}", name::literal(text)),
    }
}

/// `delete … using …` by key.
pub(super) fn delete<'t>(
    table: &str,
    key: &[&str],
    type_of: impl Fn(&str) -> &'t str,
    equals: impl Fn(&str) -> &'t str,
) -> String {
    let matches = joined(key, type_of, equals);
    format!("delete from {table} t using {} where {matches}", source(key.len()))
}

#[cfg(test)]
mod tests {
    use super::{delete, delete_row, insert, insert_row, one_texts, update, update_row};

    #[test]
    fn statements_quote_names_and_cast_values() {
        assert_eq!(
            insert("\"a\".\"b\"", &["id", "b c"], |_| "int", &["id"]),
            "insert into \"a\".\"b\" (\"id\", \"b c\") overriding system value select e.c1::int, e.c2::int \
             from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) as e (c1, c2) \
             on conflict (\"id\") do update set \"b c\" = excluded.\"b c\""
        );
        let sql = update("t", &["id"], &["a"], |_| "int", |_| "=");
        assert_eq!(
            sql.unwrap(),
            "update t t set \"a\" = e.c2::int \
             from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) as e (c1, c2) \
             where t.\"id\" = e.c1::int"
        );
        assert_eq!(update("t", &["id"], &[], |_| "int", |_| "="), None);
        assert_eq!(
            delete("t", &["a\"b"], |_| "text", |_| "operator(x.=)"),
            "delete from t t using rows from (pg_catalog.unnest($1)) as e (c1) where t.\"a\"\"b\" operator(x.=) e.c1::text"
        );
    }

    #[test]
    fn one_text_is_asked_for_each_value() {
        let columns = [("f(%)", "date"), ("%::text", "bool")];
        assert_eq!(
            one_texts(&columns),
            "select f(e.c1::date), e.c2::bool::text \
             from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) \
             with ordinality as e (c1, c2, n) order by e.n"
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
        assert_eq!(
            update_row("t", &row, &row[..1], |_| "text", |_| "=").unwrap(),
            "update t set \"b c\" = E'it''s a \\\\'::text, \"n\" = null::text where \"id\" = '1'::text"
        );
        assert_eq!(update_row("t", &row[..1], &row[..1], |_| "int", |_| "="), None);
        assert!(insert_row("t", &row[..1], |_| "int", &["id"]).ends_with("do nothing"));
    }
}
