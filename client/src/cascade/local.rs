//! What is written in the node's own database besides what events ask for.

use pgq_replica::CopyPlan;
use postgres::types::Type;
use postgres::{Client, Transaction};

use crate::copying::pipe;
use crate::error::Error;
use crate::session::Session;

/// The table into which the node's own queue takes events now, locked for that. Before anything
/// else is, also the worker's row: whoever promotes a branch locks the tables of events first, too.
pub(super) fn lock_events(here: &mut Transaction<'_>, queue: &str) -> Result<String, Error> {
    let table: String = here
        .query_typed_one("select pgq.current_event_table($1)", &[(&queue, Type::TEXT)])?
        .try_get(0)?;
    here.batch_execute(&format!("lock table {table} in row exclusive mode"))?;
    Ok(table)
}

/// Copy the events of a batch into that table, with their ids.
pub(super) fn copy_events(
    there: &mut Transaction<'_>,
    here: &mut Transaction<'_>,
    table: &str,
    batch: i64,
) -> Result<(), Error> {
    const COLUMNS: [&str; 8] = [
        "ev_id",
        "ev_time",
        "ev_type",
        "ev_data",
        "ev_extra1",
        "ev_extra2",
        "ev_extra3",
        "ev_extra4",
    ];
    let columns = COLUMNS.join(", ");
    // Any server reads a time of this form alike.
    there.batch_execute("set local datestyle = iso")?;
    pipe(
        there,
        here,
        &CopyPlan {
            out: format!("copy (select {columns} from pgq.get_batch_events({batch})) to stdout"),
            into: format!("copy {table} ({columns}) from stdin"),
            columns: COLUMNS.map(str::to_owned).to_vec(),
            left_out: Vec::new(),
        },
    )?;
    Ok(())
}

/// Note in the node's database with what a consumer has failed.
pub(super) fn note_error(local: &mut Session, queue: &str, consumer: &str, error: &Error) {
    let text = error.to_string();
    let told = local.get().and_then(|(client, _)| {
        Ok(client.query_typed(
            "select pgq_node.set_consumer_error($1, $2, $3)",
            &[(&queue, Type::TEXT), (&consumer, Type::TEXT), (&text, Type::TEXT)],
        )?)
    });
    if let Err(error) = told {
        log::debug!("{consumer}: the error is not noted in the node: {error}");
    }
}

/// Lay a tick of the provider's in the node's own queue. In a transaction of its own: its snapshot
/// has to see the events.
pub(super) fn lay_tick(
    there: &mut Client,
    here: &mut Client,
    queue: &str,
    tick: i64,
) -> Result<(), Error> {
    let row = there.query_typed_opt(
        "select (extract(epoch from t.tick_time) operator(pg_catalog.*) 1000000)::bigint,
                t.tick_event_seq
           from pgq.tick t
                join pgq.queue q on q.queue_id operator(pg_catalog.=) t.tick_queue
          where q.queue_name operator(pg_catalog.=) $1
            and t.tick_id operator(pg_catalog.=) $2",
        &[(&queue, Type::TEXT), (&tick, Type::INT8)],
    )?;
    let Some(row) = row else {
        return Err(Error::Cascade(format!(
            "tick {tick} of queue \"{queue}\" is to be laid, and the provider does not have it"
        )));
    };
    let (time, events): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    here.query_typed(
        "select pgq.ticker($1, $2,
                           timestamp with time zone 'epoch' operator(pg_catalog.+)
                               ($3 operator(pg_catalog.*) interval '1 microsecond'),
                           $4)",
        &[(&queue, Type::TEXT), (&tick, Type::INT8), (&time, Type::INT8), (&events, Type::INT8)],
    )?;
    Ok(())
}
