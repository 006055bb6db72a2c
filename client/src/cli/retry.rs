//! `pgq retry`.

use clap::Subcommand;
use pgq_client::Error;
use postgres::types::Type;
use serde_json::json;

use super::output::{Rows, done};
use super::{Exit, Global};

#[derive(Debug, Subcommand)]
pub(super) enum Retry {
    /// List events that wait for a retry; needs pgq_admin
    List {
        /// Only those of this queue
        queue: Option<String>,
        /// The same as an option
        #[arg(long = "queue", value_name = "QUEUE", conflicts_with = "queue")]
        of_queue: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// Do not wait any longer: deliver the events with the next tick; needs pgq_admin
    Now {
        /// Name of the queue
        queue: String,
        /// Only those of this consumer
        #[arg(long)]
        consumer: Option<String>,
    },
}

const LIST: &str = "
select q.queue_name as queue, c.co_name as consumer, r.ev_id, r.ev_retry as attempts,
       r.ev_retry_after as due, r.ev_type, pg_catalog.left(r.ev_data, 60) as ev_data
  from pgq.retry_queue r
       join pgq.queue q on q.queue_id operator(pg_catalog.=) r.ev_queue
       join pgq.subscription s on s.sub_queue operator(pg_catalog.=) r.ev_queue
                              and s.sub_id operator(pg_catalog.=) r.ev_owner
       join pgq.consumer c on c.co_id operator(pg_catalog.=) s.sub_consumer
 where $1 is null or q.queue_name operator(pg_catalog.=) $1
 order by r.ev_retry_after, r.ev_id
 limit $2";

const MAKE_DUE: &str = "
update pgq.retry_queue r
   set ev_retry_after = pg_catalog.now()
  from pgq.queue q, pgq.subscription s, pgq.consumer c
 where q.queue_id operator(pg_catalog.=) r.ev_queue
   and s.sub_queue operator(pg_catalog.=) r.ev_queue
   and s.sub_id operator(pg_catalog.=) r.ev_owner
   and c.co_id operator(pg_catalog.=) s.sub_consumer
   and q.queue_name operator(pg_catalog.=) $1
   and ($2 is null or c.co_name operator(pg_catalog.=) $2)
   and r.ev_retry_after operator(pg_catalog.>) pg_catalog.now()";

impl Retry {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let mut client = global.connect()?;
        match self {
            Self::List { queue, of_queue, limit } => {
                let queue = queue.or(of_queue);
                let rows =
                    Rows::query(&mut client, LIST, &[(&queue, Type::TEXT), (&limit, Type::INT8)])?;
                rows.print(global.format())?;
            }
            Self::Now { queue, consumer } => {
                super::tail::event_table(&mut client, &queue)?;
                let due = client
                    .execute_typed(MAKE_DUE, &[(&queue, Type::TEXT), (&consumer, Type::TEXT)])
                    .map_err(Error::from)?;
                let mut moved = 0;
                loop {
                    let row = client
                        .query_typed_one("select pgq.maint_retry_events()", &[])
                        .map_err(Error::from)?;
                    let some: i32 = row.try_get(0).map_err(Error::from)?;
                    moved += some;
                    if some <= 0 {
                        break;
                    }
                }
                done(
                    global.format(),
                    &format!("{due} events made due, {moved} moved back into their queues"),
                    &[("made_due", json!(due)), ("moved", json!(moved))],
                )?;
            }
        }
        Ok(Exit::Ok)
    }
}
