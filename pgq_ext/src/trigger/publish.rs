//! Handing an event to `pgq.insert_event`.
//!
//! That function may be replaced at any time, by a user or a test, and then the replacement is
//! called by its SQL name. As long as it is our own, what it would do is done without going through
//! SQL: the same permission is required, and the event is stored by the same user.

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::pg_sys;

use super::capture::Capture;
use super::overrides::Fields;
use crate::error::PgqError;
use crate::event::insert;
use crate::event_table::NewEvent;
use pgq_pg::function::{self, OwnFunction};
use pgq_pg::sql::{self, Answer, Query, Refused, Under};
use pgq_pg::value::Value;
use pgq_pg::watch;

const SCHEMA: &CStr = c"pgq";
const FUNCTION: &CStr = c"insert_event";
const ARGUMENTS: usize = 7;
const CALL: &str = "select pgq.insert_event($1, $2, $3, $4, $5, $6, $7)";

/// How to reach the function: for which user this was found out, and under which number of
/// [`watch::of_functions`].
#[derive(Clone, Copy)]
struct Route {
    own: Option<OwnFunction>,
    user: pg_sys::Oid,
    version: u64,
}

thread_local! {
    static ROUTE: Cell<Option<Route>> = const { Cell::new(None) };
    static INSERT: Query = const { Query::new(CALL, &[pg_sys::TEXTOID; ARGUMENTS]) };
}

/// Store an event.
pub(crate) fn publish(capture: &Capture, fields: &Fields) -> Result<(), PgqError> {
    let Some(function) = route() else { return publish_through_sql(capture, fields) };
    let [event_type, data, extra1, extra2, extra3, extra4] = fields.values();
    let event = NewEvent {
        event_type,
        data,
        extra: [extra1, extra2, extra3, extra4],
        ..NewEvent::default()
    };
    function.run(|| insert::insert_event(capture.queue.text(), &event))?;
    Ok(())
}

/// Our own function, if `pgq.insert_event` is it and the user may call it; an error if he may not.
fn route() -> Option<OwnFunction> {
    // A right that was revoked is gone, also within a transaction.
    watch::catch_up();
    let user = OwnFunction::current_user();
    let version = watch::of_functions();
    if let Some(route) = ROUTE.get()
        && route.user == user
        && route.version == version
    {
        return route.own;
    }
    let own = function::find_own(SCHEMA, FUNCTION, ARGUMENTS, pgq_pg::entry_of!(pgq_insert_event7));
    if let Some(function) = own {
        function.check_permission(SCHEMA, FUNCTION);
    }
    ROUTE.set(Some(Route { own, user, version }));
    own
}

fn publish_through_sql(capture: &Capture, fields: &Fields) -> Result<(), PgqError> {
    let [event_type, data, extra1, extra2, extra3, extra4] = fields.values();
    let queue = Some(capture.queue.text());
    let arguments = [queue, event_type, data, extra1, extra2, extra3, extra4].map(Value::from);
    sql::connected(|connection| {
        let plan = INSERT.with(|query| query.plan(connection))?;
        plan.run(connection, &arguments, Under::Own).and_then(Answer::of_select).map(|_| ())
    })
    .map_err(|refused: Refused| PgqError::InsertFailed(refused.0))
}
