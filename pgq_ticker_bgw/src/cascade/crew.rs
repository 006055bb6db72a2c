//! The workers of a database's nodes: its pgq worker keeps them running.

use std::time::Duration;

use pgq_pg::process::{self, Kind};
use pgq_pg::session::{self, Failure, Row, Value};
use pgq_ticker_core::crew::{Crew, Deed};

use super::children;
use super::order::Order;
use crate::shared::{Database, Shared};
use crate::{problems, settings};

/// What a node's worker is called.
const KIND: Kind = Kind {
    library: c"pgq",
    name: c"londiste worker",
    entry: c"pgq_londiste_worker_main",
    restart: None,
};

/// Is the table the extension's? Whoever may make a schema could make one of the same name, and
/// name any role in it.
const IS_MEMBER: &str = "\
    select d.objid::pg_catalog.text \
      from pg_catalog.pg_depend d \
           join pg_catalog.pg_extension e on e.oid operator(pg_catalog.=) d.refobjid \
           join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) d.objid \
           join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace \
     where d.classid operator(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass \
       and d.refclassid operator(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass \
       and d.deptype operator(pg_catalog.=) 'e' \
       and e.extname operator(pg_catalog.=) 'londiste' \
       and n.nspname operator(pg_catalog.=) 'londiste' \
       and c.relname operator(pg_catalog.=) 'worker' \
       and c.relkind operator(pg_catalog.=) 'r'";

/// Those of this database itself: what a copy of another database has brought along asks for
/// nothing here.
const WISHES: &str = "\
    select w.nr::pg_catalog.text, w.queue_name, w.worker_role::pg_catalog.text, \
           w.parallel_copies::pg_catalog.text \
      from londiste.worker w \
           join pg_catalog.pg_roles r on r.oid operator(pg_catalog.=) w.worker_role, \
           pg_catalog.pg_database d, pg_catalog.pg_control_system() s \
     where w.nr operator(pg_catalog.>) 0 \
       and d.datname operator(pg_catalog.=) pg_catalog.current_database() \
       and w.database_oid operator(pg_catalog.=) d.oid \
       and w.system_id operator(pg_catalog.=) s.system_identifier";

/// Processes of replication in this database: of one worker's copies, or all.
const PROCESSES: &str = "\
    select a.pid::pg_catalog.text \
      from pg_catalog.pg_stat_activity a, pg_catalog.pg_database d \
     where d.datname operator(pg_catalog.=) pg_catalog.current_database() \
       and a.datid operator(pg_catalog.=) d.oid \
       and case when $1 operator(pg_catalog.=) 0 \
                then a.backend_type operator(pg_catalog.=) any \
                         ('{londiste worker,londiste copy}'::pg_catalog.text[]) \
                else a.backend_type operator(pg_catalog.=) 'londiste copy' \
                     and pg_catalog.starts_with(a.application_name, \
                             pg_catalog.format('londiste copy %s: ', $1)) end";

/// After the table of wishes could not be read.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// The task, where what fails is told.
const TASK: &str = "replicate";

/// What a row of londiste.worker asks for. Whatever of it changes ends the process, and another
/// begins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    queue: String,
    role: u32,
    parallel_copies: String,
}

/// The workers of one database.
pub(crate) struct Keeper {
    /// The table of wishes that was read.
    table: Option<u32>,
    crew: Crew<Wish>,
    /// It could not be read: when to try again.
    read_again: Option<Duration>,
}

impl Keeper {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { table: None, crew: Crew::default(), read_again: None }
    }

    /// Start and end workers. `table` is the table of wishes, if there is one; `read` runs a
    /// function that reads it. It is read when it is another table, or was changed.
    pub(crate) fn look(
        &mut self,
        (shared, slot): (&Shared, &Database),
        table: Option<u32>,
        now: Duration,
        read: impl FnOnce(fn() -> Vec<Row>) -> Result<Vec<Row>, Failure>,
    ) {
        let is_changed = slot.take_wishes_changed();
        let is_due = self.read_again.is_some_and(|due| now >= due);
        if is_changed || is_due || table != self.table {
            let wishes = if table.is_some() { read(wishes) } else { Ok(Vec::new()) };
            self.table = table;
            self.read_again = wishes.is_err().then_some(now + READ_AGAIN);
            match wishes {
                Ok(rows) => {
                    self.crew.wish(rows.iter().filter_map(wish).collect());
                    problems::resolve(shared, slot.oid(), TASK, "all queues");
                }
                Err(failure) => {
                    problems::record(shared, slot.oid(), TASK, "all queues", &failure);
                }
            }
        }
        for deed in self.crew.review(now, children::is_running) {
            match deed {
                Deed::End(number) => {
                    children::end(number);
                    end_processes(number);
                }
                Deed::Start(number, wish) => {
                    let result = start(shared, slot.oid(), number, &wish);
                    match &result {
                        Ok(()) => problems::resolve(shared, slot.oid(), TASK, &wish.queue),
                        Err(failure) => {
                            problems::record(shared, slot.oid(), TASK, &wish.queue, failure);
                        }
                    }
                }
            }
        }
    }
}

/// End all processes of replication in this database: it is needed without sessions, or the
/// extension is gone.
pub(crate) fn end_all() {
    end_processes(0);
}

// Also those that an earlier pgq worker has started. Who may see all processes is a superuser.
fn end_processes(number: i32) {
    let seen = session::transaction_as_superuser(None, || {
        session::query(PROCESSES, &[Value::Int4(number)])
    });
    let pids = seen.unwrap_or_default().into_iter().flatten().flatten();
    pids.filter_map(|pid| pid.parse().ok()).for_each(process::terminate);
}

fn wishes() -> Vec<Row> {
    match session::query(IS_MEMBER, &[]).is_empty() {
        true => Vec::new(),
        false => session::query(WISHES, &[]),
    }
}

fn wish(row: &Row) -> Option<(i32, Wish)> {
    let [number, queue, role, copies] = row.as_slice() else { return None };
    let wish = Wish {
        queue: queue.clone()?,
        role: role.as_ref()?.parse().ok()?,
        parallel_copies: copies.clone()?,
    };
    Some((number.as_ref()?.parse().ok()?, wish))
}

fn start(shared: &Shared, database: u32, number: i32, wish: &Wish) -> Result<(), Failure> {
    const FULL: &str = "53400";
    if shared.is_alone() {
        return Err(Failure::new("55000", "pgq is not in shared_preload_libraries"));
    }
    if shared.header.cascades.is_full(settings::max_cascade_workers()) {
        return Err(Failure::new(FULL, "all pgq.max_cascade_workers are in use"));
    }
    let order = Order { database, role: wish.role, parent: process::my_pid(), number };
    if !children::start(KIND, &format!("londiste worker: {}", wish.queue), number, order) {
        return Err(Failure::new(
            FULL,
            "no background worker slot is free: raise max_worker_processes",
        ));
    }
    Ok(())
}
