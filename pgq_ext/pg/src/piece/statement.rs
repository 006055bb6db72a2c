//! Statements of a transaction in pieces. Their texts, parameters and answers are in UTF-8.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;

use super::attempt;
use crate::parameter::Parameter;
use crate::session::{self, Failure, Row};
use crate::sql::{Answer, Connection, Plan, Record, Statement, Under};
use crate::string::{converted_from_server, converted_to_c, converted_to_server};
use crate::value::Value;
use crate::xact;

/// Plans that are kept. When there are more, all are forgotten.
const PLANS: usize = 256;
/// Bytes of a text whose plan is kept. Longer ones have values in them and do not come again.
const LONGEST: usize = 8 << 10;

type Plans = HashMap<(String, Vec<pg_sys::Oid>), Rc<Plan>>;

thread_local! {
    static KEPT: RefCell<Plans> = RefCell::new(HashMap::new());
}

/// Run one statement; its rows.
pub fn rows(sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
    answer(sql, parameters, |answer| {
        let columns = answer.columns();
        let row = |record: Record<'_>| {
            (1..=columns).map(|column| record.text(column).map(converted_from_server)).collect()
        };
        answer.records().map(row).collect()
    })
}

/// Run one statement; how many rows it has written.
pub fn execute(sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, Failure> {
    answer(sql, parameters, |answer| answer.processed())
}

/// Run statements without parameters, each of which sees what those before it have done.
pub fn run(sql: &str) -> Result<(), Failure> {
    attempt(|| {
        xact::begin_statement();
        session::connected(|connection| {
            let result = connection.run(&converted_to_c(sql));
            result.unwrap_or_else(|refused| session::raise(&refused, "statements"));
        });
    })
}

fn answer<T>(
    sql: &str,
    parameters: &[Parameter<'_>],
    read: impl FnOnce(Answer<'_>) -> T,
) -> Result<T, Failure> {
    attempt(|| {
        xact::begin_statement();
        session::connected(|connection| {
            let types: Vec<_> = parameters.iter().map(Parameter::type_oid).collect();
            if sql.len() > LONGEST {
                let statement = connection.prepare(&converted_to_server(sql), &types);
                let statement =
                    statement.unwrap_or_else(|refused| session::raise(&refused, "a statement"));
                return read(execute_in(connection, &statement, parameters));
            }
            let plan = plan(connection, sql, types);
            read(execute_in(connection, &plan, parameters))
        })
    })
}

fn plan(connection: &Connection, sql: &str, types: Vec<pg_sys::Oid>) -> Rc<Plan> {
    let key = (sql.to_owned(), types);
    if let Some(plan) = KEPT.with_borrow(|kept| kept.get(&key).cloned()) {
        return plan;
    }
    let prepared = connection.prepare(&converted_to_server(sql), &key.1);
    let plan = prepared.and_then(|prepared| prepared.keep());
    let plan = Rc::new(plan.unwrap_or_else(|refused| session::raise(&refused, sql)));
    let forgotten = KEPT.with_borrow_mut(|kept| {
        let forgotten = if kept.len() < PLANS { Plans::new() } else { std::mem::take(kept) };
        kept.insert(key, Rc::clone(&plan));
        forgotten
    });
    drop(forgotten);
    plan
}

fn execute_in<'c>(
    connection: &'c Connection,
    statement: &Statement,
    parameters: &[Parameter<'_>],
) -> Answer<'c> {
    let values: Vec<Value> = parameters.iter().map(Parameter::value).collect();
    let answer = statement.run(connection, &values, Under::Own);
    answer.unwrap_or_else(|refused| session::raise(&refused, "a statement"))
}
