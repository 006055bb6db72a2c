//! Values on their way into rows and statements.

use pgrx::pg_sys;

use super::text::{Text, Texts};

/// One value of a row, or one argument of a statement.
#[derive(Clone, Copy)]
pub enum Value {
    /// NULL.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `integer`.
    Int4(i32),
    /// `bigint` or `timestamptz`.
    Int8(i64),
    /// `double precision`.
    Float8(f64),
    /// `oid`.
    Oid(pg_sys::Oid),
    /// `text`.
    Text(Text),
    /// `text[]`.
    Texts(Texts),
}

impl Value {
    #[inline]
    pub(crate) fn datum(self) -> pg_sys::Datum {
        match self {
            Self::Null => pg_sys::Datum::null(),
            Self::Bool(value) => value.into(),
            Self::Int4(value) => value.into(),
            Self::Int8(value) => value.into(),
            Self::Float8(value) => i64::from_ne_bytes(value.to_ne_bytes()).into(),
            Self::Oid(value) => value.into(),
            Self::Text(text) => text.datum(),
            Self::Texts(texts) => texts.datum(),
        }
    }

    /// True when a column of this type takes it.
    pub(crate) fn is_of(self, type_oid: pg_sys::Oid) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(_) => type_oid == pg_sys::BOOLOID,
            Self::Int4(_) => type_oid == pg_sys::INT4OID,
            Self::Int8(_) => type_oid == pg_sys::INT8OID || type_oid == pg_sys::TIMESTAMPTZOID,
            Self::Float8(_) => type_oid == pg_sys::FLOAT8OID,
            Self::Oid(_) => type_oid == pg_sys::OIDOID,
            Self::Text(_) => type_oid == pg_sys::TEXTOID,
            Self::Texts(_) => type_oid == pg_sys::TEXTARRAYOID,
        }
    }

    #[inline]
    pub(crate) fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }
}

impl From<Option<i32>> for Value {
    fn from(value: Option<i32>) -> Self {
        value.map_or(Self::Null, Self::Int4)
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Int8)
    }
}

impl From<Option<Text>> for Value {
    fn from(value: Option<Text>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }
}
