//! Queries that several commands show.

/// Queues, with the counters that `top` makes rates of.
pub(super) const QUEUES: &str = "
select i.queue_name as queue, i.last_tick_id as tick, i.ticker_lag as tick_age,
       q.queue_ticker_paused as paused, i.queue_cur_table as \"table\",
       i.ev_new as new_events, pgq.seq_getval(q.queue_event_seq) as events,
       (select pg_catalog.count(*) from pgq.get_consumer_info(i.queue_name)) as consumers
  from pgq.get_queue_info() i
       join pgq.queue q on q.queue_name operator(pg_catalog.=) i.queue_name
 order by 1";

/// Consumers of the queue `$1`, or of all.
pub(super) const CONSUMERS: &str = "
select c.queue_name as queue, c.consumer_name as consumer,
       c.lag, c.last_seen,
       c.last_tick, c.current_batch, c.pending_events
  from pgq.get_consumer_info() c
 where $1 is null or c.queue_name operator(pg_catalog.=) $1
 order by 1, 2";
