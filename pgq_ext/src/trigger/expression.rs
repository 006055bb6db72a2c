//! `ev_…=` and `when=` expressions, evaluated for the current row.

use std::cell::OnceCell;

use pgq_core::capture::expression;
use pgq_core::capture::options::{Field, Options};

use crate::error::PgqError;
use pgq_pg::row::{Row, Shape};
use pgq_pg::setting;
use pgq_pg::sql::{self, Answer, Connection, Plan, Prepared, Refused};
use pgq_pg::text::Text;

/// An expression; its plan is made when it is first needed.
struct Expression {
    source: Vec<u8>,
    kept: OnceCell<Kept>,
}

struct Kept {
    plan: Plan,
    columns: Vec<usize>,
}

/// All expressions of a trigger.
pub(crate) struct Expressions {
    fields: Vec<(Field, Expression)>,
    when: Option<Expression>,
}

impl Expressions {
    /// Those among the options.
    pub(crate) fn new(options: &Options) -> Self {
        let new = |source: &Vec<u8>| Expression { source: source.clone(), kept: OnceCell::new() };
        Self {
            fields: options.fields.iter().map(|(field, source)| (*field, new(source))).collect(),
            when: options.when.as_ref().map(new),
        }
    }

    /// True when there are none.
    pub(crate) fn are_none(&self) -> bool {
        self.when.is_none() && self.fields.is_empty()
    }

    /// Evaluate all of them: `set` gets the value of each field that has an expression. False when
    /// the condition is false, which is looked at last.
    pub(crate) fn evaluate(
        &self,
        shape: &Shape,
        row: &Row<'_>,
        mut set: impl FnMut(Field, Option<Text>),
    ) -> Result<bool, PgqError> {
        let values = sql::connected(|connection| {
            let mut values = Vec::with_capacity(self.fields.len());
            for (field, expression) in &self.fields {
                values.push((*field, expression.text(connection, shape, row)?));
            }
            let holds = match &self.when {
                Some(when) => when.condition(connection, shape, row)?,
                None => true,
            };
            Ok::<_, PgqError>((values, holds))
        });
        let (values, holds) = values?;
        // Made only now: memory from inside the connection is gone.
        for (field, value) in values {
            set(field, value.map(|bytes| Text::new(&bytes)));
        }
        Ok(holds)
    }
}

impl Expression {
    fn text(
        &self,
        connection: &Connection,
        shape: &Shape,
        row: &Row<'_>,
    ) -> Result<Option<Vec<u8>>, PgqError> {
        self.answer(connection, shape, row, |answer| Ok(first_text(answer)))
    }

    fn condition(
        &self,
        connection: &Connection,
        shape: &Shape,
        row: &Row<'_>,
    ) -> Result<bool, PgqError> {
        self.answer(connection, shape, row, |answer| {
            let type_oid = answer.first_type();
            if type_oid != pgrx::pg_sys::BOOLOID {
                return Err(PgqError::ConditionType(type_oid.to_u32()));
            }
            let value = first_text(answer).ok_or(PgqError::ConditionNull)?;
            Ok(value == b"t")
        })
    }

    fn answer<R>(
        &self,
        connection: &Connection,
        shape: &Shape,
        row: &Row<'_>,
        read: impl FnOnce(&Answer<'_>) -> Result<R, PgqError>,
    ) -> Result<R, PgqError> {
        let kept = match self.kept.get() {
            Some(kept) => kept,
            None => {
                let kept = self.prepare(connection, shape)?;
                self.kept.get_or_init(|| kept)
            }
        };
        let answer = kept
            .plan
            .run_for_row(connection, row, &kept.columns)
            .and_then(Answer::of_select)
            .map_err(failed)?;
        if answer.rows() != 1 {
            return Err(PgqError::ExpressionRows(answer.rows()));
        }
        read(&answer)
    }

    fn prepare(&self, connection: &Connection, shape: &Shape) -> Result<Kept, PgqError> {
        let column = |name: &[u8]| {
            shape.columns().position(|column| column.has_value && column.name == name)
        };
        let query = expression::parse(&self.source, setting::has_standard_strings(), column)?;
        let types: Vec<_> = query
            .parameters
            .iter()
            .filter_map(|&index| Some(shape.column(index)?.type_oid))
            .collect();
        let plan = connection.prepare(&query.sql, &types).and_then(Prepared::keep);
        let plan = plan.map_err(failed)?;
        Ok(Kept { plan, columns: query.parameters })
    }
}

fn first_text(answer: &Answer<'_>) -> Option<Vec<u8>> {
    answer.records().next()?.text(1)
}

fn failed(refused: Refused) -> PgqError {
    PgqError::ExpressionFailed(refused.0)
}
