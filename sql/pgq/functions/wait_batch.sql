create or replace procedure pgq.wait_batch(
    in    i_queue_name      text,
    in    i_consumer_name   text,
    in    i_timeout         interval default '1 minute',
    inout batch_id          bigint default null,
    in    i_skip_empty      boolean default true)
language c
-- ----------------------------------------------------------------------
-- Procedure: pgq.wait_batch(5)
--      Wait for the next batch of a consumer that has events, and open it, as pgq.next_batch does.
--      With a worker in this database a batch is there a millisecond or two after the commit of its
--      first event: who waits lays its tick, if nobody else does. Without one it comes with the
--      next tick, which is looked for ten times a second. While it waits there is no transaction,
--      no snapshot and no lock. Batches without events are finished on the way, as the consumer
--      would. Who waits in vain is told why, once.
-- Parameters:
--      i_queue_name    name of the queue
--      i_consumer_name name of the consumer
--      i_timeout       how long to wait; 0: look once; NULL: no limit. statement_timeout counts
--                      too.
--      batch_id        in: anything
--      i_skip_empty    false or NULL: return batches without events, too. For who keeps account of
--                      ticks, as consumers of cascades and of another database do.
-- Returns: id of the batch; NULL when the time is over
-- Errors: 25001 in a transaction block or function; 22004 NULL name; 22023 negative time; those of
--      pgq.next_batch_custom
-- Locks, Tables: as pgq.next_batch_custom; for a tick, which is committed at once, as
--      pgq.ticker(1), but it does not wait for the lock; event tables are looked into, where the
--      caller may read them
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_wait_batch';
comment on procedure pgq.wait_batch(text, text, interval, bigint, boolean) is
    'wait for the next batch of a consumer';

create or replace function pgq._batch_has_events(x_batch_id bigint)
returns boolean
language c
-- ----------------------------------------------------------------------
-- Function: pgq._batch_has_events(1)
--      True if a batch has events for its consumer, as pgq.get_batch_events would return; also
--      where that cannot be told from an index of the event tables.
-- Parameters:
--      x_batch_id  id of the batch
-- Errors: 42704 no such batch
-- Tables: pgq.subscription, pgq.queue, pgq.tick, event tables
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_batch_has_events';
comment on function pgq._batch_has_events(bigint) is 'true if a batch has events';

create or replace function pgq._why_no_batch(
    in  i_queue_name    text,
    in  i_since         timestamptz,
    out finding         text,
    out remedy          text)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._why_no_batch(2)
--      Why a consumer may wait in vain: nobody lays ticks in its queue. Where no worker runs
--      somebody else may do it; what speaks against that is that there was never a tick but the
--      first, that a worker should be there and nobody has laid one since the wait began, or that
--      one is overdue.
-- Parameters:
--      i_queue_name    the queue
--      i_since         when the wait began
-- Returns: what is wrong and what to do; no row: nothing is known to be wrong
-- Tables: pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
    with queue as materialized (
        select q.queue_name, q.queue_ticker_paused, q.queue_external_ticker, l.tick_id, l.tick_time,
               clock_timestamp() - l.tick_time as lag,
               clock_timestamp() - l.tick_time >
                   q.queue_ticker_max_lag + interval '1 second'
                   + case
                         when pgq._sequence_value(q.queue_id, q.queue_event_seq) > l.tick_event_seq
                             then interval '0'
                         else q.queue_ticker_idle_period
                     end as is_overdue,
               q.queue_ticker_idle_period
          from pgq.queue q
          left join lateral (
                   select t.tick_id, t.tick_time, t.tick_event_seq
                     from pgq.tick t
                    where t.tick_queue = q.queue_id
                    order by t.tick_id desc
                    limit 1) l on true
         where q.queue_name = i_queue_name
    ), worker as materialized (
        select h.queue_name, h.code, h.finding, h.remedy
          from pgq._health_worker() h
         where h.code in ('worker_not_running', 'tick_failed')
    ), server as materialized (
        select s.preloaded and s.max_workers > 0 as has_workers
          from pgq._worker_server() s
    )
    select format('queue "%s" is paused: its events reach nobody', q.queue_name),
           'Call pgq.resume_queue().'
      from queue q
     where q.queue_ticker_paused
    union all
    select format('ticks of queue "%s" come from elsewhere, and have not come for %s', q.queue_name,
                  date_trunc('second', q.lag)),
           'Look at the consumer that copies this queue from its provider.'
      from queue q
     where q.queue_external_ticker
       and not q.queue_ticker_paused
       and (q.lag > 2 * q.queue_ticker_idle_period + interval '1 minute' or q.lag is null)
    union all
    select w.finding, w.remedy
      from queue q, worker w, server s
     where w.code = 'worker_not_running'
       and not q.queue_external_ticker
       and not q.queue_ticker_paused
       and coalesce(q.tick_id <= 1 or q.is_overdue or (s.has_workers and q.tick_time < i_since),
                    true)
    union all
    select w.finding, w.remedy
      from queue q
      join worker w on w.queue_name = q.queue_name or w.queue_name is null
     where w.code = 'tick_failed'
$$;
comment on function pgq._why_no_batch(text, timestamptz) is 'why a consumer may wait in vain';
