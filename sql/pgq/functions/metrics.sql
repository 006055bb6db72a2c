create or replace function pgq.metrics(
    out name    text,
    out labels  jsonb,
    out value   float8)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.metrics(0)
--      Numbers about the queues of this database and its worker, named as Prometheus wants it.
--      docs/monitoring.md lists them. Cheap: one pass over queues and subscriptions; event tables
--      are not read, but for those of dead-letter queues, by index.
-- Returns: name of the metric, its labels, its value
-- Tables: pgq.queue, pgq.tick, pgq.subscription, pgq.consumer, pgq.retry_queue, sequences
-- ----------------------------------------------------------------------
    with queue as materialized (
        select q.queue_id,
               jsonb_build_object('queue', q.queue_name) as labels,
               extract(epoch from now() - l.tick_time)::float8 as tick_age,
               l.tick_id,
               l.tick_event_seq,
               pgq._sequence_value(q.queue_id, q.queue_event_seq) as event_seq,
               extract(epoch from now() - q.queue_switch_time)::float8 as rotation_age,
               q.queue_ticker_paused,
               (select sum(pg_relation_size(to_regclass(q.queue_data_pfx || '_' || n)))
                  from generate_series(0, q.queue_ntables - 1) n)::float8 as bytes
          from pgq.queue q
          left join lateral (
                   select t.tick_id, t.tick_time, t.tick_event_seq
                     from pgq.tick t
                    where t.tick_queue = q.queue_id
                    order by t.tick_id desc
                    limit 1) l on true
    ), consumer as materialized (
        select q.labels || jsonb_build_object('consumer', c.co_name) as labels,
               extract(epoch from now() - t.tick_time)::float8 as lag,
               extract(epoch from now() - s.sub_active)::float8 as last_seen,
               (q.tick_event_seq - t.tick_event_seq)::float8 as pending,
               (s.sub_batch is not null)::integer as open_batch
          from queue q
          join pgq.subscription s on s.sub_queue = q.queue_id
          join pgq.consumer c on c.co_id = s.sub_consumer
          left join pgq.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_last_tick
         where c.co_name <> 'dead_letters' -- it keeps letters, and lags as long as there are any
    ), retry as materialized (
        select q.labels, count(*)::float8 as events,
               coalesce(extract(epoch from now() - min(r.ev_retry_after)), 0)::float8 as age
          from pgq.retry_queue r
          join queue q on q.queue_id = r.ev_queue
         group by q.labels
    ), worker as materialized (
        select d.*
          from pgq._worker_databases() d
         where d.oid = (select oid from pg_database where datname = current_database())
    )
    select v.name, q.labels, v.value
      from queue q,
           lateral (values
               ('pgq_queue_events_total', q.event_seq::float8),
               ('pgq_queue_unticked_events', greatest(q.event_seq - q.tick_event_seq, 0)::float8),
               ('pgq_queue_tick_id', q.tick_id::float8),
               ('pgq_queue_tick_age_seconds', q.tick_age),
               ('pgq_queue_rotation_age_seconds', q.rotation_age),
               ('pgq_queue_paused', q.queue_ticker_paused::integer::float8),
               ('pgq_queue_table_bytes', q.bytes)) v (name, value)
     where v.value is not null
    union all
    select v.name, c.labels, v.value
      from consumer c,
           lateral (values
               ('pgq_consumer_lag_seconds', c.lag),
               ('pgq_consumer_last_seen_seconds', c.last_seen),
               ('pgq_consumer_pending_events', c.pending),
               ('pgq_consumer_open_batch', c.open_batch::float8)) v (name, value)
     where v.value is not null
    union all
    select v.name, r.labels, v.value
      from retry r,
           lateral (values
               ('pgq_retry_events', r.events),
               ('pgq_retry_overdue_seconds', greatest(r.age, 0))) v (name, value)
    union all
    select v.name, jsonb_build_object('queue', d.queue_name), v.value
      from pgq._dead_letters(10000) d,
           lateral (values
               ('pgq_dead_letters', d.letters::float8),
               ('pgq_dead_letters_oldest_seconds',
                extract(epoch from now() - d.oldest)::float8)) v (name, value)
     where v.value is not null
    union all
    select 'pgq_queue_waiting_consumers', q.labels, w.waiters::float8
      from pgq._worker_waiters() w
      join queue q on q.queue_id = w.queue_id
    union all
    select 'pgq_worker_up', '{}'::jsonb, (count(w.pid))::float8
      from worker w
    union all
    select v.name, '{}'::jsonb, v.value::float8
      from worker w,
           lateral (values
               ('pgq_worker_ticks_total', w.ticks),
               ('pgq_worker_demand_ticks_total', w.demand_ticks),
               ('pgq_worker_retried_events_total', w.retries),
               ('pgq_worker_rotations_total', w.rotations),
               ('pgq_worker_vacuums_total', w.vacuums),
               ('pgq_worker_restarts_total', w.restarts),
               ('pgq_worker_errors_total', w.errors)) v (name, value)
    union all
    select 'pgq_problems', jsonb_build_object('task', p.task), count(*)::float8
      from pgq._worker_problems() p
     group by p.task
$$;
comment on function pgq.metrics() is 'numbers about queues and worker, in Prometheus naming';
