//! With what a worker or a copy has failed, for SQL to see.

use pgq_replica::cascade::drive::Local;
use pgq_replica::{Argument, Session};

use super::here::Here;
use super::problem::Problem;

const NOTE: &str = "
insert into londiste.worker_error as e (queue_name, consumer_name, sqlstate, event_id, message)
select $1, $2, $3, $4::bigint, $5
 where exists (select
                 from pgq_node.node_info n
                where n.queue_name operator(pg_catalog.=) $1)
    on conflict (queue_name, consumer_name) do update
   set sqlstate = excluded.sqlstate,
       event_id = excluded.event_id,
       message = excluded.message,
       last_time = excluded.last_time,
       attempts = e.attempts operator(pg_catalog.+) 1";

const FORGET: &str = "
delete from londiste.worker_error
 where queue_name operator(pg_catalog.=) $1
   and consumer_name operator(pg_catalog.=) $2";

/// Note it. What stands in the way of that is no news: it is the same, most likely.
pub(super) fn note(here: &mut Here, queue: &str, consumer: &str, problem: &Problem) {
    let text = problem.to_string();
    let event = problem.event().map(|id| id.to_string());
    let _ = (|| -> Result<(), Problem> {
        here.begin()?;
        let sql = "select pgq_node.set_consumer_error($1, $2, $3)::pg_catalog.text";
        here.rows(sql, &[queue.into(), consumer.into(), text.as_str().into()])?;
        let state = Argument::Text(problem.code());
        let arguments = [
            queue.into(),
            consumer.into(),
            state,
            Argument::Text(event.as_deref()),
            text.as_str().into(),
        ];
        here.execute(NOTE, &arguments)?;
        here.commit()
    })()
    .inspect_err(|_| pgq_pg::piece::abort());
}

/// It works again.
pub(super) fn forget(here: &mut Here, queue: &str, consumer: &str) -> Result<(), Problem> {
    here.execute(FORGET, &[queue.into(), consumer.into()])?;
    Ok(())
}
