//! Tables to try the fence on.

use pgq_pg::catalog;
use pgrx::{Spi, pg_sys};

/// Columns of the tables that [`create`] makes.
pub(crate) const COLUMNS: [(&str, pg_sys::Oid); 3] =
    [("id", pg_sys::INT8OID), ("kind", pg_sys::INT4OID), ("body", pg_sys::TEXTOID)];

/// Make `public.t` with an index on `id`, and run more statements; its oid.
pub(crate) fn create(more: &str) -> pg_sys::Oid {
    run("create table public.t (id bigint not null, kind integer, body text)");
    run("create index t_id on public.t (id)");
    run(more);
    catalog::relation_oid(c"public", c"t").expect("made above")
}

/// Run statements.
pub(crate) fn run(sql: &str) {
    Spi::run(sql).expect("a statement that works");
}

/// One number.
pub(crate) fn number(sql: &str) -> i64 {
    Spi::get_one(sql).expect("a query that works").expect("a number")
}

/// One text.
pub(crate) fn text(sql: &str) -> String {
    Spi::get_one(sql).expect("a query that works").expect("a text")
}
