//! An SQL function that gets events as jsonb, in the transaction that finishes the batch.

use pgq_client::{Connector, Error, Event, HandlerError, Outcome, ServerError, Work};
use postgres::types::Type;

use super::line::Form;

/// The statement that calls a function of this name; the server resolves and quotes it.
pub(in crate::cli) fn function_call(
    connector: &Connector,
    function: &str,
) -> Result<String, Error> {
    let mut client = connector.connect()?;
    // Looked up once: later a schema that comes first may have one of that name.
    let row = client.query_typed_one(
        "select pg_catalog.format('%I.%I', n.nspname, p.proname)
           from pg_catalog.pg_proc p
                join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) p.pronamespace
          where p.oid operator(pg_catalog.=) $1::pg_catalog.regprocedure::pg_catalog.oid",
        &[(&format!("{function}(pg_catalog.jsonb)"), Type::TEXT)],
    )?;
    let name: String = row.try_get(0)?;
    Ok(format!("select {name}($1::pg_catalog.jsonb)"))
}

pub(in crate::cli) fn event_to_sql(
    work: &mut Work<'_, '_>,
    event: &Event,
    sql: &str,
    form: Form,
) -> Result<Outcome, HandlerError> {
    // The result is not looked at, so it may be of any type.
    let called = work.transaction()?.execute_typed(sql, &[(&form.line(event), Type::TEXT)]);
    match called {
        Ok(_) => Ok(Outcome::Done),
        Err(error) => Err(unusable(&error).map_or_else(|| error.into(), HandlerError::from)),
    }
}

/// The error of a call whose function is gone, or may not be called. What went wrong inside of it
/// has a context.
fn unusable(error: &postgres::Error) -> Option<Error> {
    let error = error.as_db_error().filter(|error| error.where_().is_none())?;
    let error = ServerError::from(error);
    let gone = error.is_denied() || error.sqlstate == "42883";
    gone.then(|| Error::NoCommand { what: error.to_string(), denied: error.is_denied() })
}
