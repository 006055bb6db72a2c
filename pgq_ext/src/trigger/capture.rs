//! What is known of one trigger on one table: the parsed arguments, the columns with their roles,
//! the parts of an event that are the same for every row.

use pgq_core::capture::change::Role;
use pgq_core::capture::kinds;
use pgq_core::capture::names;
use pgq_core::capture::options::{self, Field, Options};
use pgq_core::encode::TooLarge;

use super::expression::Expressions;
use super::format::{Format, KeyNames};
use crate::error::PgqError;
use pgq_pg::relation::Column;
use pgq_pg::row::{Shape, is_time};
use pgq_pg::setting;
use pgq_pg::text_buffer::StoredText;
use pgq_pg::trigger::{Operation, TriggerCall};

/// A live column of the table.
pub(crate) struct CapturedColumn {
    /// Position in the row.
    pub(crate) index: usize,
    /// Part in change analysis.
    pub(crate) role: Role,
    /// Goes into the data.
    pub(crate) is_emitted: bool,
    /// Its name as the format wants it.
    pub(crate) label: Vec<u8>,
    /// How JSON shows its values.
    pub(crate) json: JsonValue,
}

/// How JSON shows the values of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonValue {
    /// `true` or `false`.
    Bool,
    /// The text as it is.
    Number,
    /// A string in ISO 8601 form.
    Time,
    /// The text as a string.
    String,
}

/// A column whose value goes into a field of the event.
pub(crate) struct MagicColumn {
    pub(crate) index: usize,
    /// None: there is no such field.
    pub(crate) field: Option<Field>,
    pub(crate) name: Vec<u8>,
}

/// One trigger on one table.
pub(crate) struct Capture {
    pub(crate) format: Format,
    pub(crate) shape: Shape,
    pub(crate) options: Options,
    pub(crate) columns: Vec<CapturedColumn>,
    pub(crate) magic: Vec<MagicColumn>,
    pub(crate) expressions: Expressions,
    pub(crate) queue: StoredText,
    /// `schema.table`.
    pub(crate) table: StoredText,
    /// There is something to find a row by.
    pub(crate) has_key: bool,
    types: [StoredText; 4],
    pub(crate) truncate_data: StoredText,
    /// Columns from here on do not matter in the old row of an UPDATE.
    pub(crate) old_end: usize,
    /// `insert into` column list of the SQL formats, up to the values.
    pub(crate) insert_head: Vec<u8>,
}

impl Capture {
    /// Study a trigger and its table.
    pub(crate) fn new(format: Format, call: &TriggerCall<'_>) -> Result<Self, PgqError> {
        let relation = call.relation();
        let (schema, name) = (relation.schema(), relation.name());
        let shape = Shape::new(relation);
        let mut arguments = call.arguments();
        let queue = arguments.next().ok_or(PgqError::NoQueue)?;
        let (options, roles) = match format {
            Format::Kinds => {
                let live = shape.columns().filter(|column| column.is_live).count();
                let kinds = arguments.next().ok_or(PgqError::KindArguments)?;
                (Options::default(), Some(kinds::parse(kinds, live)?))
            }
            Format::Url | Format::Json | Format::Sql => (Options::parse(arguments)?, None),
        };
        let primary = relation.primary_key();
        let columns = captured_columns(format, &shape, &options, roles.as_deref(), &primary);
        let key = match &options.key {
            Some(list) => KeyNames::Listed(list),
            None => KeyNames::Primary(
                primary.iter().filter_map(|&i| Some(&*shape.column(i)?.name)).collect(),
            ),
        };
        let has_key = if format.is_sql() {
            columns.iter().any(|column| column.role == Role::Key)
        } else {
            match &key {
                KeyNames::Listed(list) => !list.is_empty(),
                KeyNames::Primary(names) => !names.is_empty(),
            }
        };
        let table = [&*schema, b".", &name].concat();
        let store =
            |bytes: &[u8]| StoredText::new(bytes).map_err(|problem| too_large(&table, problem));
        let event_type = |operation| store(&format.event_type(operation, (&schema, &name), &key));
        Ok(Self {
            format,
            magic: magic_columns(&shape),
            insert_head: insert_head(&columns),
            old_end: old_end(format, &shape, &options, &columns),
            queue: store(queue)?,
            table: store(&table)?,
            types: [
                event_type(Operation::Insert)?,
                event_type(Operation::Update)?,
                event_type(Operation::Delete)?,
                event_type(Operation::Truncate)?,
            ],
            truncate_data: store(format.truncate_data())?,
            expressions: Expressions::new(&options),
            has_key,
            columns,
            shape,
            options,
        })
    }

    /// The table's name for messages.
    pub(crate) fn table_name(&self) -> String {
        setting::for_message(self.table.bytes())
    }

    /// `ev_type` unless something replaces it.
    pub(crate) fn event_type(&self, operation: Operation) -> &StoredText {
        let [insert, update, delete, truncate] = &self.types;
        match operation {
            Operation::Insert => insert,
            Operation::Update => update,
            Operation::Delete => delete,
            Operation::Truncate => truncate,
        }
    }

    /// The error for a text that is too long to be stored.
    pub(crate) fn too_large(&self, problem: TooLarge) -> PgqError {
        too_large(self.table.bytes(), problem)
    }
}

fn too_large(table: &[u8], problem: TooLarge) -> PgqError {
    PgqError::TooLarge { table: setting::for_message(table), problem }
}

fn captured_columns(
    format: Format,
    shape: &Shape,
    options: &Options,
    kinds: Option<&[Role]>,
    primary: &[usize],
) -> Vec<CapturedColumn> {
    let live = shape.columns().enumerate().filter(|(_, column)| column.is_live);
    live.enumerate()
        .filter(|(_, (_, column))| column.has_value)
        .map(|(position, (index, column))| {
            let kind = kinds.and_then(|kinds| kinds.get(position).copied());
            let is_magic = options::is_magic(&column.name);
            let is_ignored = is_magic
                || kind == Some(Role::Ignored)
                || is_listed(options.ignore.as_deref(), column);
            let is_key = match (kind, options.key.as_deref()) {
                (Some(kind), _) => kind == Role::Key,
                (None, Some(list)) => names::contains(list, &column.name),
                (None, None) => primary.contains(&index),
            };
            let role = match (is_key && !is_magic, is_ignored) {
                (true, _) => Role::Key,
                (false, true) => Role::Ignored,
                (false, false) => Role::Data,
            };
            CapturedColumn {
                index,
                role,
                is_emitted: !is_ignored,
                label: format.label(&column.name),
                json: json_value(column),
            }
        })
        .collect()
}

fn is_listed(list: Option<&[u8]>, column: &Column) -> bool {
    list.is_some_and(|list| names::contains(list, &column.name))
}

fn magic_columns(shape: &Shape) -> Vec<MagicColumn> {
    let live = shape.columns().enumerate().filter(|(_, column)| column.has_value);
    live.filter(|(_, column)| options::is_magic(&column.name))
        .map(|(index, column)| MagicColumn {
            index,
            field: options::magic_field(&column.name),
            name: column.name.clone(),
        })
        .collect()
}

fn json_value(column: &Column) -> JsonValue {
    use pgrx::pg_sys::{BOOLOID, INT2OID, INT4OID, INT8OID};
    match column.type_oid {
        BOOLOID => JsonValue::Bool,
        INT2OID | INT4OID | INT8OID => JsonValue::Number,
        other if is_time(other) => JsonValue::Time,
        _ => JsonValue::String,
    }
}

/// Without a look at the data, only the key of the old row is compared.
fn old_end(format: Format, shape: &Shape, options: &Options, columns: &[CapturedColumn]) -> usize {
    if format.is_sql() || options.ignore.is_some() || options.backup {
        return shape.columns().len();
    }
    let keys = columns.iter().filter(|column| column.role == Role::Key);
    keys.map(|column| column.index + 1).max().unwrap_or(0)
}

fn insert_head(columns: &[CapturedColumn]) -> Vec<u8> {
    let labels: Vec<_> =
        columns.iter().filter(|column| column.is_emitted).map(|column| &*column.label).collect();
    [b"(", &*labels.join(&b','), b") values ("].concat()
}
