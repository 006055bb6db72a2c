//! The columns of a table that both sides have, and the statements that read them.

use pgq_client::Error;
use pgq_replica::name;

use crate::cli::londiste::site::Site;

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    name: String,
    kind: String,
    is_key: bool,
}

/// Those that both sides have, those of the key first.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    /// The table here has no others.
    pub(super) are_all: bool,
}

const COLUMNS: &str = "
select a.attname::text, format_type(a.atttypid, a.atttypmod), (k.place is not null)::text
  from pg_attribute a
       join pg_class c on c.oid = a.attrelid
       join pg_namespace n on n.oid = c.relnamespace
       left join lateral (select array_position((x.indkey::int2[])[:x.indnkeyatts - 1],
                                                a.attnum) as place
                            from pg_index x
                           where x.indrelid = a.attrelid and x.indisprimary) k on true
 where n.nspname = $1
   and c.relname = $2
   and a.attnum > 0
   and not a.attisdropped
   and a.attgenerated = ''
 order by k.place, a.attnum";

fn columns(site: &mut Site, table: &str) -> anyhow::Result<Vec<Column>> {
    let (schema, relation) = name::split(table);
    let rows = site.rows(COLUMNS, &[schema.into(), relation.into()])?;
    let column = |row: &pgq_replica::Row| -> anyhow::Result<Column> {
        Ok(Column {
            name: row.text(0)?.to_owned(),
            kind: row.text(1)?.to_owned(),
            is_key: row.flag(2)?,
        })
    };
    rows.iter().map(column).collect()
}

/// What a value is written as; null stays so.
fn text(column: &str) -> String {
    let column = format!("t.{}", name::quote(column));
    format!("case num_nulls({column}) when 0 then format('%s', {column}) end")
}

impl Columns {
    /// Look at both, with pg_catalog as the path.
    pub(super) fn read(
        (there, table_there): (&mut Site, &str),
        (here, table_here): (&mut Site, &str),
    ) -> anyhow::Result<Self> {
        let (source, own) = (columns(there, table_there)?, columns(here, table_here)?);
        let is_in =
            |column: &Column, other: &[Column]| other.iter().any(|known| known.name == column.name);
        let common: Vec<_> = own.iter().filter(|column| is_in(column, &source)).cloned().collect();
        let keys = |columns: &[Column]| {
            let keys = columns.iter().filter(|column| column.is_key);
            keys.map(|column| column.name.clone()).collect::<Vec<_>>()
        };
        let (mut one, mut other) = (keys(&source), keys(&own));
        one.sort();
        other.sort();
        if other.is_empty() || one != other {
            return Err(Error::Cascade(format!(
                "table \"{table_here}\" does not have the same primary key here and on node \"{}\": its rows cannot be told apart; hint: resync copies it anew",
                there.name()
            ))
            .into());
        }
        if common.len() < source.len() || common.len() < own.len() {
            log::warn!(
                "table \"{table_here}\": columns that only one side has are left out; see \"check\""
            );
        }
        let are_all = common.len() == own.len();
        Ok(Self { columns: common, are_all })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.is_key)
    }

    /// All names, those of the key first.
    pub(super) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| name::quote(&column.name)).collect()
    }

    /// The query for key, version and sum of all rows. It is ordered as our strings are, whatever
    /// encoding and collation the server has.
    pub(super) fn sums(&self, table: &str, only: Option<&str>) -> String {
        let keys: Vec<_> = self.keys().map(|column| text(&column.name)).collect();
        let order: Vec<_> = keys.iter().map(|key| format!("convert_to({key}, 'UTF8')")).collect();
        let all: Vec<_> = self.names().iter().map(|column| format!("t.{column}")).collect();
        format!(
            "select {}, t.xmin::text || t.ctid::text,
                    encode(sha256(convert_to(row({})::text, 'UTF8')), 'hex')
               from only {} t {} order by {}",
            keys.join(", "),
            all.join(", "),
            name::quoted(table),
            only.map(|only| format!("where ({only})")).unwrap_or_default(),
            order.join(", ")
        )
    }

    /// The query for the rows of keys, which are an array for each column of the key: place among
    /// the keys, version, all values.
    pub(super) fn rows(&self, table: &str, lock: &str) -> String {
        let (mut arrays, mut names, mut same) = (Vec::new(), Vec::new(), Vec::new());
        for (index, column) in self.keys().enumerate() {
            arrays.push(format!("${}::text[]", index + 1));
            names.push(format!("k{index}"));
            same.push(format!("t.{} = u.k{index}::{}", name::quote(&column.name), column.kind));
        }
        let values: Vec<_> = self.columns.iter().map(|column| text(&column.name)).collect();
        format!(
            "select u.place::text, t.xmin::text || t.ctid::text, {}
               from unnest({}) with ordinality u ({}, place)
                    join only {} t on {} {lock}",
            values.join(", "),
            arrays.join(", "),
            names.join(", "),
            name::quoted(table),
            same.join(" and ")
        )
    }
}
