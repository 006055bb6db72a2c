//! The connection to a provider, and the batch that is open there.

use std::time::Duration;

use super::{ErrorOf, Host, Remote};
use crate::cascade::node::Node;
use crate::cascade::round::{Batch, Looked};
use crate::error::Error;
use crate::session::{Argument, Failure, Session};

/// A changed watermark is told so often while there is something else to do.
const TELL: Duration = Duration::from_secs(30);

/// The arguments of `pgq.wait_batch`; none where the provider does not have it.
const WAIT: &str = "
select p.pronargs::pg_catalog.text
  from pg_catalog.pg_proc p
       join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) p.pronamespace
 where n.nspname operator(pg_catalog.=) 'pgq'
   and p.proname operator(pg_catalog.=) 'wait_batch'";

const NEXT: &str = "
select batch_id::pg_catalog.text, prev_tick_id::pg_catalog.text, cur_tick_id::pg_catalog.text
  from pgq.next_batch_custom($1, $2, null, null, null)";

const INFO: &str = "
select prev_tick_id::pg_catalog.text, tick_id::pg_catalog.text
  from pgq.get_batch_info($1::bigint)";

/// True where tick `t` sees every transaction that snapshot `$3` sees.
const SEES_ALL: &str = "
select (pg_catalog.txid_snapshot_xmax(t.tick_snapshot) operator(pg_catalog.>=)
            pg_catalog.txid_snapshot_xmax($3::pg_catalog.txid_snapshot)
        and not exists (
            select
              from pg_catalog.txid_snapshot_xip(t.tick_snapshot) x (txid)
             where pg_catalog.txid_visible_in_snapshot(
                       x.txid, $3::pg_catalog.txid_snapshot)))::pg_catalog.text
  from pgq.tick t
       join pgq.queue q on q.queue_id operator(pg_catalog.=) t.tick_queue
 where q.queue_name operator(pg_catalog.=) $1
   and t.tick_id operator(pg_catalog.=) $2::bigint";

/// What a provider answers that does not know a queue or its consumer.
const UNDEFINED: &str = "42704";

/// A provider's side of a consumer.
pub(super) struct Link<R> {
    pub(super) name: String,
    pub(super) location: String,
    pub(super) there: R,
    pub(super) queue: String,
    pub(super) consumer: String,
    pub(super) looked: Looked,
    /// The watermark that it was told last, and when.
    told: Option<(i64, Duration)>,
    /// How to wait in the server, where that can be.
    wait: Option<String>,
}

/// Connect to the node's provider as `consumer`.
pub(super) fn connect<H: Host>(
    host: &mut H,
    local: &mut H::Local,
    node: &Node,
    queue: &str,
    consumer: &str,
) -> Result<Link<H::Remote>, ErrorOf<H>> {
    let mut there = host.connect(local, &node.provider, &node.location, consumer)?;
    // It may be another database of the set by now, or of another set.
    let sql = "select node_name from pgq_node.get_node_info($1)";
    let rows = there.rows(sql, &[queue.into()])?;
    let name = rows.first().map(|row| row.get(0)).transpose()?.flatten().unwrap_or_default();
    if name != node.provider {
        return Err(Error::Refused(format!(
            "the provider is to be node \"{}\" of queue \"{queue}\", and says that it is \"{name}\"",
            node.provider
        ))
        .into());
    }
    Link::new(there, node, queue, consumer)
}

/// Unregister at a node that is the provider no more: it would keep all events for us.
pub(super) fn forget_at<H: Host>(
    host: &mut H,
    local: &mut H::Local,
    queue: &str,
    consumer: &str,
    provider: &str,
) {
    if let Err(error) = try_forget_at(host, local, queue, consumer, provider) {
        host.warn(&format_args!(
            "node \"{provider}\" keeps events for it until \"select pgq.unregister_consumer('{queue}', '{consumer}')\" is run there: {error}"
        ));
    }
}

fn try_forget_at<H: Host>(
    host: &mut H,
    local: &mut H::Local,
    queue: &str,
    consumer: &str,
    provider: &str,
) -> Result<(), ErrorOf<H>> {
    let rows = local.rows(
        "select node_location
           from pgq_node.get_queue_locations($1)
          where node_name operator(pg_catalog.=) $2",
        &[queue.into(), provider.into()],
    )?;
    let Some(row) = rows.first() else { return Ok(()) };
    let mut there = host.connect(local, provider, row.text(0)?, consumer)?;
    unregister(&mut there, queue, consumer)
}

impl<R: Remote> Link<R> {
    fn new(mut there: R, node: &Node, queue: &str, consumer: &str) -> Result<Self, R::Error> {
        let rows = there.rows(WAIT, &[])?;
        let arguments = rows.first().map(|row| row.number(0)).transpose()?;
        // Queue, consumer and time are told; the rest are its answers and what has a default.
        let rest = arguments.and_then(|count| usize::try_from(count - 3).ok());
        let wait = rest.filter(|rest| (1..9).contains(rest)).map(|rest| {
            let nulls = vec!["null"; rest].join(", ");
            format!("call pgq.wait_batch($1, $2, $3::interval, {nulls})")
        });
        Ok(Self {
            name: node.provider.clone(),
            location: node.location.clone(),
            there,
            queue: queue.to_owned(),
            consumer: consumer.to_owned(),
            looked: Looked::NotYet,
            told: None,
            wait,
        })
    }

    /// The watermark that it was told last.
    pub(super) fn told(&self) -> Option<i64> {
        self.told.map(|(watermark, _)| watermark)
    }

    pub(super) fn told_lately(&self, now: Duration) -> bool {
        self.told.is_some_and(|(_, when)| now.saturating_sub(when) < TELL)
    }

    pub(super) fn has_told(&mut self, watermark: i64, now: Duration) {
        self.told = Some((watermark, now));
    }

    /// Can it be waited for in the server?
    pub(super) fn waits(&self) -> bool {
        self.wait.is_some()
    }

    /// Ask for a batch.
    pub(super) fn look(&mut self) -> Result<(), R::Error> {
        let arguments = [self.queue.as_str().into(), self.consumer.as_str().into()];
        let rows = self.there.rows(NEXT, &arguments)?;
        let row = rows.first().ok_or_else(|| Error::Answer("nothing of a batch".to_owned()))?;
        self.looked = match row.number_or_null(0)? {
            None => Looked::Nothing,
            Some(id) => Looked::Open(Batch { id, previous: row.number(1)?, tick: row.number(2)? }),
        };
        Ok(())
    }

    /// Wait for a batch in the server, so long at most.
    pub(super) fn wait(&mut self, longest: Duration) -> Result<(), R::Error> {
        self.looked = Looked::NotYet;
        let Some(wait) = &self.wait else { return Ok(()) };
        let longest = format!("{} milliseconds", longest.as_millis());
        let arguments =
            [self.queue.as_str().into(), self.consumer.as_str().into(), longest.as_str().into()];
        let rows = self.there.rows(wait, &arguments)?;
        let row = rows.first().ok_or_else(|| Error::Answer("nothing of a wait".to_owned()))?;
        let Some(id) = row.number_or_null(0)? else { return Ok(()) };
        let rows = self.there.rows(INFO, &[id.to_string().as_str().into()])?;
        // Another process may have finished it since.
        if let Some(row) = rows.first()
            && let Some(previous) = row.number_or_null(0)?
        {
            self.looked = Looked::Open(Batch { id, previous, tick: row.number(1)? });
        }
        Ok(())
    }

    /// Have a tick laid, where that is in the provider's power: a branch waits for its own. Whoever
    /// may not tick waits for the provider's worker.
    pub(super) fn ask_for_tick(&mut self) -> Result<(), R::Error> {
        let queue = Argument::from(self.queue.as_str());
        for sql in
            ["select pgq.force_tick($1)::pg_catalog.text", "select pgq.ticker($1)::pg_catalog.text"]
        {
            match self.there.rows(sql, &[queue]) {
                Err(error) if !error.is_answer() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Finish the batch. That another process has done so is as good.
    pub(super) fn finish(&mut self, batch: Batch) -> Result<(), R::Error> {
        self.looked = Looked::NotYet;
        let id = batch.id.to_string();
        let sql = "select pgq.finish_batch($1::bigint)::pg_catalog.text";
        self.there.rows(sql, &[id.as_str().into()])?;
        Ok(())
    }

    /// Register; the tick from which on batches come.
    pub(super) fn register(&mut self) -> Result<i64, R::Error> {
        let arguments = [self.queue.as_str().into(), self.consumer.as_str().into()];
        let sql = "select pgq.register_consumer($1, $2)::pg_catalog.text";
        self.there.rows(sql, &arguments)?;
        self.looked = Looked::NotYet;
        let sql = "select last_tick::pg_catalog.text from pgq.get_consumer_info($1, $2)";
        let rows = self.there.rows(sql, &arguments)?;
        let row = rows.first().ok_or_else(|| Error::Answer("no place of a consumer".to_owned()))?;
        Ok(row.number(0)?)
    }

    pub(super) fn unregister(&mut self) -> Result<(), R::Error> {
        unregister(&mut self.there, &self.queue, &self.consumer)
    }

    /// Does the tick see every transaction that the snapshot sees? No later tick sees less.
    pub(super) fn sees_all_of(&mut self, tick: i64, snapshot: &str) -> Result<bool, R::Error> {
        let tick = tick.to_string();
        let arguments = [self.queue.as_str().into(), tick.as_str().into(), snapshot.into()];
        let rows = self.there.rows(SEES_ALL, &arguments)?;
        Ok(rows.first().map_or(Ok(false), |row| row.flag(0))?)
    }
}

/// Unregister a consumer at a provider.
pub(super) fn unregister<S: Session>(
    there: &mut S,
    queue: &str,
    consumer: &str,
) -> Result<(), S::Error> {
    let sql = "select pgq.unregister_consumer($1, $2)::pg_catalog.text";
    there.rows(sql, &[queue.into(), consumer.into()])?;
    Ok(())
}

/// Does the provider say that it does not know the queue, or its consumer?
pub(super) fn is_unknown(error: &impl Failure) -> bool {
    error.is_answer() && error.sqlstate() == Some(UNDEFINED)
}
