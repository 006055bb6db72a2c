//! The four triggers and how they differ in what is the same for every row.

use pgq_core::capture::names;
use pgq_core::encode::{json, url};

use pgq_pg::relation::quote_identifier;
use pgq_pg::trigger::Operation;

/// Which trigger function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    /// `logutriga`: urlencoded rows.
    Url,
    /// `jsontriga`: JSON objects.
    Json,
    /// `sqltriga`: fragments of SQL statements.
    Sql,
    /// `logtriga`: as `sqltriga`, with column kinds instead of options. Databases from Skytools 2
    /// have it.
    Kinds,
}

/// How an event says which columns are the key.
pub(crate) enum KeyNames<'a> {
    /// Those of `pkey=`, as they were written.
    Listed(&'a [u8]),
    /// Those of the primary key.
    Primary(Vec<&'a [u8]>),
}

impl Format {
    /// The function that errors name. `jsontriga` says `logutriga`, as it always did.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Url | Self::Json => "logutriga",
            Self::Sql => "sqltriga",
            Self::Kinds => "logtriga",
        }
    }

    /// True for the formats that are SQL.
    pub(crate) fn is_sql(self) -> bool {
        matches!(self, Self::Sql | Self::Kinds)
    }

    /// A column's name as rows of this format have it.
    pub(crate) fn label(self, name: &[u8]) -> Vec<u8> {
        match self {
            Self::Url => url::encode(name),
            Self::Json => json::string(name),
            Self::Sql | Self::Kinds => quote_identifier(name),
        }
    }

    /// `ev_type`.
    pub(crate) fn event_type(
        self,
        operation: Operation,
        (schema, table): (&[u8], &[u8]),
        key: &KeyNames<'_>,
    ) -> Vec<u8> {
        match (self, operation) {
            (Self::Json, _) => json_type(operation, (schema, table), key),
            (Self::Url, Operation::Insert | Operation::Update | Operation::Delete) => {
                let list = match key {
                    KeyNames::Listed(list) => list.to_vec(),
                    KeyNames::Primary(names) => names.join(&b','),
                };
                [letter(operation), b":", &list].concat()
            }
            _ => letter(operation).to_vec(),
        }
    }

    /// `ev_data` of TRUNCATE.
    pub(crate) fn truncate_data(self) -> &'static [u8] {
        match self {
            Self::Json => b"{}",
            Self::Url | Self::Sql | Self::Kinds => b"",
        }
    }
}

/// The statement's name, as JSON events and messages have it.
pub(crate) fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Insert => "INSERT",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Truncate => "TRUNCATE",
    }
}

fn letter(operation: Operation) -> &'static [u8] {
    match operation {
        Operation::Insert => b"I",
        Operation::Update => b"U",
        Operation::Delete => b"D",
        Operation::Truncate => b"R",
    }
}

fn json_type(operation: Operation, (schema, table): (&[u8], &[u8]), key: &KeyNames<'_>) -> Vec<u8> {
    let strings =
        |names: Vec<&[u8]>| names.into_iter().map(json::string).collect::<Vec<_>>().join(&b',');
    let key = match key {
        KeyNames::Listed(list) => strings(names::items(list).collect()),
        KeyNames::Primary(names) => strings(names.clone()),
    };
    [
        br#"{"op":""#,
        word(operation).as_bytes(),
        br#"","table":["#,
        &strings(vec![schema, table]),
        br#"],"pkey":["#,
        &key,
        b"]}",
    ]
    .concat()
}
