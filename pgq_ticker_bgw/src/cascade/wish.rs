//! What a process of replication was started for, and the session that it needs for that.

use pgq_pg::{process, report};
use pgq_replica::Session;

use super::here::Here;
use super::order::Order;
use super::problem::Problem;
use super::session;

/// The row that this process was started for, as long as it is as it was.
const WISH: &str = "
select queue_name, parallel_copies::pg_catalog.text
  from londiste.worker
 where nr operator(pg_catalog.=) $1::int
   and worker_role operator(pg_catalog.=) $2::pg_catalog.oid";

/// The session of a process that is ordered so.
pub(super) fn begin(order: Order) -> Here {
    process::connect_as(order.database, order.role);
    if let Err(failure) = session::prepare() {
        report::warning(&format!("londiste cannot work: {}", failure.message));
        process::exit(1)
    }
    Here
}

/// The queue, and how many tables are copied at once. None when the wish is gone.
pub(super) fn wish(here: &mut Here, order: Order) -> Result<Option<(String, usize)>, Problem> {
    let number = order.number.to_string();
    let role = order.role.to_string();
    let rows = here.rows(WISH, &[number.as_str().into(), role.as_str().into()])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let copies = usize::try_from(row.number(1)?)
        .map_err(|_| pgq_replica::Error::Answer("parallel_copies".to_owned()))?;
    Ok(Some((row.text(0)?.to_owned(), copies)))
}

/// The same at the start of a process, which ends where there is none.
pub(super) fn wish_or_end(here: &mut Here, order: Order) -> (String, usize) {
    match wish(here, order) {
        Ok(Some(wish)) => wish,
        Ok(None) => process::exit(0),
        Err(problem) => {
            report::warning(&format!("londiste cannot work: {problem}"));
            process::exit(1)
        }
    }
}
