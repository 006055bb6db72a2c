//! Retries, table rotation, vacuum and the maintenance of other extensions, in small pieces.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Worker, database, micros, number};
use crate::shared::{Database, Shared};
use crate::{problems, settings};
use pgq_pg::session::{self, Failure, Value};
use pgq_pg::{activity, process, utility};

/// One step of a maintenance round.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// Call a function, with an argument or none. Not zero as result: call it again.
    Call { function: String, argument: Option<String> },
    /// Vacuum a table.
    Vacuum { table: String },
}

/// Whether an event is due that its queue would take.
const DUE_RETRIES: &str = include_str!("due_retries.sql");
/// Tables of PgQ's own that have too many dead rows.
const DEAD_ROWS: &str = include_str!("dead_rows.sql");
/// Schemas whose maintenance of PgQ 3 cannot be trusted.
const STRANGE: &str = include_str!("strange_schemas.sql");
/// What there is to do.
const OPERATIONS: &str = "select func_name, func_arg from pgq.maint_operations()";
/// What must be done beside such schemas: the functions find out themselves whether it is time.
const ROTATIONS: &str = "\
    (select 'pgq.maint_rotate_tables_step1', q.queue_name from pgq.queue q order by 2) \
    union all select 'pgq.maint_rotate_tables_step2', null";

/// SQLSTATE of what was cancelled.
const CANCELLED: &str = "57014";
/// Why it was cancelled: not by hand, nor because the clock was set.
const TOO_LONG: &str = "it took longer than pgq.maint_timeout";
const WENT_ON: &str = "it went on after it had been cancelled, so the worker ended";
/// What takes too long is left alone for so many times its limit.
const RESTS: u32 = 10;

impl Worker {
    /// Put one portion of due retry events back into their queues; true when there may be more.
    pub(super) fn retry_some(&mut self) -> bool {
        // A cheap look first: the function takes a lock.
        let due = self.in_transaction(None, || session::query(DUE_RETRIES, &[]));
        if !matches!(due, Ok(rows) if !rows.is_empty()) {
            self.futile_retries = 0;
            return false;
        }
        activity::busy("retry events");
        // Triggers on event tables may run.
        let result = self.attempt("retry", "all queues", settings::maint_timeout(), || {
            session::query("select pgq.maint_retry_events()", &[])
        });
        self.discard();
        let moved = result.ok().as_deref().and_then(number).unwrap_or(0);
        self.slot.retries.fetch_add(moved, Ordering::SeqCst);
        self.futile_retries = if moved > 0 { 0 } else { self.futile_retries.saturating_add(1) };
        moved > 0
    }

    /// List what there is to do.
    pub(super) fn plan_maintenance(&mut self) {
        activity::busy("plan maintenance");
        database::apply_lock_timeout();
        let period = i64::try_from(micros(settings::maint_period())).unwrap_or(i64::MAX / 4);
        problems::forget(&self.shared, self.database, Some(period));
        let sql = if self.has_strange_schemas() { ROTATIONS } else { OPERATIONS };
        let listed =
            self.attempt("maintenance", "pgq.maint_operations", settings::maint_timeout(), || {
                session::query(sql, &[])
            });
        for row in listed.unwrap_or_default() {
            let mut columns = row.into_iter();
            let (Some(function), argument) = (columns.next().flatten(), columns.next().flatten())
            else {
                continue;
            };
            let is_vacuum = matches!(function.to_lowercase().as_str(), "vacuum" | "vacuum analyze");
            match argument {
                Some(table) if is_vacuum => {
                    self.operations.push_back(Operation::Vacuum { table });
                }
                argument => self.operations.push_back(Operation::Call { function, argument }),
            }
        }
        self.plan_vacuum();
    }

    /// True when maintenance as PgQ 3 knows it would run what anybody has made; says so.
    fn has_strange_schemas(&self) -> bool {
        let found = self.in_transaction(None, || session::query(STRANGE, &[]));
        let names: Vec<String> =
            found.unwrap_or_default().into_iter().flatten().flatten().collect();
        for name in &names {
            let failure = Failure::new(
                "42501",
                "it is neither a superuser's nor that of schema pgq's owner, and PgQ 3 would run \
                 what is in it: only rotation is done until \"alter extension pgq update\"",
            );
            self.note_failure("maintenance", &format!("schema {name}"), &failure);
        }
        !names.is_empty()
    }

    fn plan_vacuum(&mut self) {
        let Some(threshold) = settings::vacuum_threshold() else { return };
        let tables =
            self.in_transaction(None, || session::query(DEAD_ROWS, &[Value::Int8(threshold)]));
        for row in tables.unwrap_or_default() {
            if let Some(Some(table)) = row.into_iter().next() {
                self.operations.push_back(Operation::Vacuum { table });
            }
        }
    }

    /// Do one step. A failure is noted and the next step is done all the same.
    pub(super) fn operate(&mut self, operation: Operation) {
        match operation {
            Operation::Call { function, argument } => self.call(&function, argument.as_deref()),
            Operation::Vacuum { table } => self.vacuum(&table),
        }
    }

    fn call(&mut self, function: &str, argument: Option<&str>) {
        let object = match argument {
            Some(argument) => format!("{function}({argument})"),
            None => function.to_owned(),
        };
        if self.rests("maintenance", &object) {
            return;
        }
        activity::busy(&object);
        let rotates = function == "pgq.maint_rotate_tables_step1";
        let before = argument.filter(|_| rotates).and_then(|queue| self.current_table(queue));
        let result = self.attempt("maintenance", &object, settings::maint_timeout(), || {
            let quoted = quote(function);
            match argument {
                Some(argument) => {
                    session::query_once(&format!("select {quoted}($1)"), &[Value::Text(argument)])
                }
                None => session::query_once(&format!("select {quoted}()"), &[]),
            }
        });
        self.discard();
        let again = result.ok().as_deref().and_then(number).unwrap_or(0) != 0;
        if again {
            self.operations.push_front(Operation::Call {
                function: function.to_owned(),
                argument: argument.map(str::to_owned),
            });
        }
        if before.is_some() && argument.and_then(|queue| self.current_table(queue)) != before {
            self.slot.rotations.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// True for what took too long a short while ago. It would hold up the ticks of all queues
    /// again.
    fn rests(&self, task: &str, object: &str) -> bool {
        let Some(limit) = settings::maint_timeout() else { return false };
        let rest = i64::try_from(micros(limit * RESTS)).unwrap_or(i64::MAX);
        let last = [TOO_LONG, WENT_ON]
            .iter()
            .find_map(|message| problems::last(&self.shared, self.database, task, object, message));
        last.is_some_and(|last| (0..rest).contains(&(process::timestamp() - last)))
    }

    fn current_table(&self, queue: &str) -> Option<i64> {
        let rows = self.in_transaction(None, || {
            session::query(
                "select queue_cur_table from pgq.queue where queue_name operator(pg_catalog.=) $1",
                &[Value::Text(queue)],
            )
        });
        rows.ok().as_deref().and_then(number)
    }

    fn vacuum(&mut self, table: &str) {
        if self.rests("vacuum", table) {
            return;
        }
        activity::busy(&format!("vacuum {table}"));
        begin("vacuum", table);
        let limit = settings::maint_timeout();
        let result = limited(limit, || {
            session::transaction_as_superuser(limit, || utility::vacuum(&quote(table)))
        });
        match result {
            Ok(()) => {
                self.slot.vacuums.fetch_add(1, Ordering::SeqCst);
                problems::resolve(&self.shared, self.database, "vacuum", table);
            }
            Err(failure) => self.note_failure("vacuum", table, &failure),
        }
    }
}

thread_local! {
    /// Task and object that were begun last, for [`note_overrun`].
    static BEGUN: RefCell<(String, String)> =
        const { RefCell::new((String::new(), String::new())) };
}

/// Run something with that limit, and if it took too long say so.
pub(super) fn limited<T>(
    limit: Option<Duration>,
    body: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let begin = Instant::now();
    body().map_err(|failure| match limit {
        Some(limit) if failure.sqlstate == CANCELLED && begin.elapsed() >= limit => {
            Failure { message: TOO_LONG.to_owned(), ..failure }
        }
        _ => failure,
    })
}

/// Note what is begun.
pub(super) fn begin(task: &str, object: &str) {
    BEGUN.set((task.to_owned(), object.to_owned()));
}

/// The process ends because something went on after it had been cancelled: say what, to the worker
/// that comes next too.
pub(super) fn note_overrun(shared: &Shared, slot: &Database) {
    let failure = Failure::new(CANCELLED, WENT_ON);
    let (task, object) = BEGUN.take();
    problems::record(shared, slot.oid(), &task, &object, &failure);
    slot.errors.fetch_add(1, Ordering::SeqCst);
    slot.error.store(&format!("{task} of \"{object}\": {}", failure.message));
    slot.error_at.store(process::timestamp(), Ordering::SeqCst);
}

/// A name as SQL: split at the first dot, each side quoted; without a dot it is in `public`, as for
/// pgqd.
fn quote(name: &str) -> String {
    let quoted = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    match name.split_once('.') {
        Some((schema, name)) => format!("{}.{}", quoted(schema), quoted(name)),
        None => format!("public.{}", quoted(name)),
    }
}
