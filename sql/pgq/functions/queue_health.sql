create or replace function pgq.queue_health(
    out queue_name  text,
    out severity    text,
    out code        text,
    out finding     text,
    out since       timestamptz,
    out remedy      text)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.queue_health(0)
--      What is wrong with the queues of this database, or will be: one row per queue and finding;
--      no row means that all is well. docs/monitoring.md lists the codes. What time alone makes
--      wrong is not held against the time in which the server did not run. No remedy begins with
--      giving up events.
-- Returns:
--      queue_name  the queue; NULL for what concerns all
--      severity    critical: events do not flow or the disk fills; warning: it will come to that;
--                  info
--      code        what it is, for programs
--      finding     what it is, for people
--      since       since when, if known
--      remedy      what to do
-- Tables: all of PgQ's metadata, pg_stat_activity, pg_locks, pg_prepared_xacts; event tables are
--      not read, but for those of dead-letter queues, and the first rows after the newest tick of
--      a queue that has had none for long
-- ----------------------------------------------------------------------
    select * from pgq._health_worker()
    union all
    select * from pgq._health_ticks()
    union all
    select * from pgq._health_rotation()
    union all
    select * from pgq._health_consumers()
    union all
    select * from pgq._health_dead_letters()
    union all
    select * from pgq._health_later()
    union all
    select * from pgq._health_storage()
     order by 1 nulls first, 2, 3, 4
$$;
comment on function pgq.queue_health() is
    'what is wrong with the queues of this database; no row: nothing';

create or replace function pgq._health_worker(
    out queue_name  text,
    out severity    text,
    out code        text,
    out finding     text,
    out since       timestamptz,
    out remedy      text)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._health_worker(0)
--      Findings about the worker: not running, and what it tries in vain.
-- ----------------------------------------------------------------------
    with server as materialized (
        select * from pgq._worker_server()
    ), databases as materialized (
        select * from pgq._worker_databases()
    ), slot as (
        select d.*
          from databases d
         where d.oid = (select oid from pg_database where datname = current_database())
    )
    select null, 'info', 'standby',
           'this server is a standby: no worker runs, and nothing can be consumed here',
           null::timestamptz, 'Consumers belong on the primary.'
     where pg_is_in_recovery()
    union all
    select null, 'warning', 'worker_not_running',
           case
               when not s.preloaded
                   then 'no worker runs: pgq is not in shared_preload_libraries'
               when s.max_workers = 0 then 'no worker runs: pgq.max_workers is 0'
               when s.launcher_pid is null then 'no worker runs: the launcher does not either'
               when slot.oid is null
                   then 'no worker runs: pgq.max_workers is used up, or the launcher has not come '
                        'here yet'
               else format('no worker runs: it is %s', slot.state)
                    || coalesce(', last error: ' || slot.last_error, '')
           end,
           slot.since,
           case
               when not s.preloaded
                   then 'Add pgq to shared_preload_libraries and restart, or call '
                        'pgq.start_worker(), or run pgqd.'
               when s.max_workers = 0
                   then 'Raise pgq.max_workers and restart, or run pgqd.'
               when slot.state = 'stopped' then 'Call pgq.start_worker().'
               when slot.oid is null
                   then 'Compare pgq.max_workers and max_worker_processes with the number of '
                        'databases that use pgq.'
               else 'It starts again by itself; the server log tells more.'
           end
      from server s
      left join slot on true
     where not pg_is_in_recovery()
       and slot.pid is null
       -- A server that has just been started: first the launcher is on its way, then the worker,
       -- unless there is none left to give.
       and not coalesce(
               s.preloaded
               and now() - pg_postmaster_start_time()
                   < least(current_setting('pgq.discovery_period', true)::interval,
                           interval '2 minutes') + interval '5 seconds'
               and case
                       when slot.oid is not null
                           then slot.state in ('waiting to start', 'starting')
                       when s.launcher_pid is null then s.max_workers > 0
                       else s.max_workers > (select count(d.pid) from databases d)
                   end,
               false)
       and not exists (
               select 1
                 from pg_stat_activity a
                where a.backend_type = 'pgq worker'
                  and a.datname = current_database())
    union all
    select q.queue_name,
           case p.task when 'tick' then 'critical' else 'warning' end,
           p.task || '_failed',
           format('%s of "%s" failed %s times, last: %s (%s)', p.task, p.object, p.count, p.message,
                  p.sqlstate),
           p.first,
           case
               when p.sqlstate = '55P03' then 'Somebody holds a lock; see pg_locks.'
               when p.sqlstate = 'XX001'
                   then 'If the database was restored from a dump, call pgq.rebase().'
               when p.sqlstate = '57014'
                   then 'It held up the ticks for longer than pgq.maint_timeout, or somebody '
                        'cancelled it: make it shorter, or raise the limit. Meanwhile it is left '
                        'alone for ten times as long.'
               else 'Remove the cause; the worker tries again by itself.'
           end
      from pgq._worker_problems() p
      left join pgq.queue q on q.queue_name = p.object or p.object like '%(' || q.queue_name || ')'
     where p.task <> 'tick'
        or q.queue_name is not null
        or p.object = 'all queues'
$$;
comment on function pgq._health_worker() is 'findings about the worker';

create or replace function pgq._waits_since(i_queue_id integer)
returns timestamptz
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
set lock_timeout = '100ms'
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._waits_since(1)
--      Since when events of a queue wait for a tick, as their times say, found by the index on
--      ev_txid. Who came again or was moved here has the time of its first coming, and whose
--      transaction was open at the newest tick that of its beginning: what is older than the tick
--      says nothing.
-- Parameters:
--      i_queue_id  id of the queue
-- Returns: the oldest time of the first events after the newest tick; NULL if there are none, or
--      none of such a time; the time of that tick if it cannot be told: a table is locked or
--      damaged, or more than 1000 came again
-- Locks: access share on the queue's event tables, waited for 0.1 s
-- Tables: pgq.queue, pgq.tick, event tables of the queue
-- ----------------------------------------------------------------------
declare
    queue       record;
    statement   text;
    result      timestamptz;
    seen        bigint;
begin
    select q.queue_data_pfx, q.queue_ntables, t.tick_snapshot, t.tick_time
      into queue
      from pgq.queue q
      join pgq.tick t on t.tick_queue = q.queue_id
     where q.queue_id = i_queue_id
     order by t.tick_id desc
     limit 1;
    if not found then
        return null;
    end if;
    select string_agg(format('(select ev_time from %s where ev_txid >= $1 order by ev_txid '
                             'limit 1000)',
                             pgq._event_table(queue.queue_data_pfx || '_' || n)), ' union all ')
      into statement
      from generate_series(0, queue.queue_ntables - 1) n;
    execute format('select min(e.ev_time) filter (where e.ev_time >= $2), count(*) from (%s) e',
                   statement)
       into result, seen
      using txid_snapshot_xmax(queue.tick_snapshot), queue.tick_time;
    if result is null and seen >= 1000 then
        return queue.tick_time;
    end if;
    return result;
exception
    when data_corrupted or undefined_table or undefined_column or lock_not_available then
        return queue.tick_time;
end;
$$;
comment on function pgq._waits_since(integer) is 'since when events of a queue wait for a tick';

create or replace function pgq._health_ticks(
    out queue_name  text,
    out severity    text,
    out code        text,
    out finding     text,
    out since       timestamptz,
    out remedy      text)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._health_ticks(0)
--      Findings about queues that get no ticks. One that was idle, and has got an event only now,
--      is no such queue.
-- ----------------------------------------------------------------------
    with queue as materialized (
        select q.*, l.tick_time, l.tick_event_seq,
               now() - l.tick_time as lag,
               now() - greatest(l.tick_time, pg_postmaster_start_time()) as silence,
               -- NULL: no event yet, which the ticker takes for 1
               coalesce(pgq._sequence_value(q.queue_id, q.queue_event_seq), 1) as event_seq
          from pgq.queue q
          left join lateral (
                   select t.tick_time, t.tick_event_seq
                     from pgq.tick t
                    where t.tick_queue = q.queue_id
                    order by t.tick_id desc
                    limit 1) l on true
    ), looks as materialized (
        -- the worker looks this often; in a quiet database only every fourth time
        select 4 * coalesce(current_setting('pgq.ticker_period', true)::interval, '0')
               + interval '15 seconds' as apart
    ), holder as materialized (
        select h.objid::bigint::integer as queue_id, min(h.pid) as pid
          from pg_locks h
         where h.locktype = 'advisory'
           and h.classid = 1885827444::oid
           and h.objsubid = 3 -- class and number of ticker locks: docs/locks.md
           and h.granted
           and h.database = (select oid from pg_database where datname = current_database())
         group by 1
    )
    select q.queue_name, 'info', 'paused', 'the queue is paused: its events reach nobody',
           null::timestamptz,
           'Call pgq.resume_queue().'
      from queue q
     where q.queue_ticker_paused
    union all
    select q.queue_name, 'warning', 'no_external_tick',
           'ticks of this queue come from elsewhere, and have not come for '
           || date_trunc('second', q.lag),
           q.tick_time, 'Look at the consumer that copies this queue from its provider.'
      from queue q
     where q.queue_external_ticker
       and not q.queue_ticker_paused
       and not pg_is_in_recovery()
       and q.silence > 2 * q.queue_ticker_idle_period + interval '1 minute'
    union all
    select q.queue_name, 'critical', 'not_ticking',
           case
               when h.pid is not null
                   then format('no tick for %s: process %s holds the ticker lock',
                               coalesce(date_trunc('second', q.lag)::text, 'ever'), h.pid)
               else format('no tick for %s', coalesce(date_trunc('second', q.lag)::text, 'ever'))
           end,
           q.tick_time,
           case
               when h.pid is not null then format('See what process %s does.', h.pid)
               else 'Something has to call pgq.ticker(): the worker or pgqd.'
           end
      from queue q
     cross join looks
      left join holder h on h.queue_id = q.queue_id
     where not pg_is_in_recovery()
       and not q.queue_external_ticker
       and not q.queue_ticker_paused
       and coalesce(
               q.silence > q.queue_ticker_max_lag + looks.apart
               and (q.tick_time is null
                    or q.silence > q.queue_ticker_idle_period + q.queue_ticker_max_lag
                                   + looks.apart
                    or case
                           when q.event_seq > q.tick_event_seq
                               then greatest(coalesce(pgq._waits_since(q.queue_id), 'infinity'),
                                             pg_postmaster_start_time())
                                    < now() - q.queue_ticker_max_lag - looks.apart
                           else false
                       end),
               true)
$$;
comment on function pgq._health_ticks() is 'findings about queues that get no ticks';

create or replace function pgq._health_consumers(
    out queue_name  text,
    out severity    text,
    out code        text,
    out finding     text,
    out since       timestamptz,
    out remedy      text)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._health_consumers(0)
--      Findings about consumers that lag, and events that wait for another delivery.
-- ----------------------------------------------------------------------
    with limits as materialized (
        select coalesce(current_setting('pgq.health_consumer_lag', true), '1h')::interval as lag,
               coalesce(current_setting('pgq.health_retry_backlog', true), '10000')::bigint
                   as retries
    ), position as materialized (
        select q.queue_name, c.co_name, s.sub_batch, s.sub_active, t.tick_time,
               (select n.tick_time
                  from pgq.tick n
                 where n.tick_queue = s.sub_queue
                   and n.tick_id > s.sub_last_tick
                 order by n.tick_id
                 limit 1) as behind_since
          from pgq.subscription s
          join pgq.queue q on q.queue_id = s.sub_queue
          join pgq.consumer c on c.co_id = s.sub_consumer
          left join pgq.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_last_tick
         where s.sub_last_tick is not null
    ), due as materialized (
        select q.queue_name, q.queue_disable_insert, r.events, r.oldest
          from limits,
               pgq.queue q,
               lateral (
                   select count(*) as events, min(d.ev_retry_after) as oldest
                     from (select r.ev_retry_after
                             from pgq.retry_queue r
                            where r.ev_queue = q.queue_id
                              and r.ev_retry_after <= now()
                            order by r.ev_retry_after
                            limit limits.retries + 1) d) r
         where r.events > 0
    )
    select p.queue_name, 'critical', 'position_lost',
           format('the tick at which consumer "%s" stands is gone', p.co_name), null::timestamptz,
           format('Its next events are gone with the tick. Find out how; then choose the tick '
                  'where it goes on:'
                  ' select pgq.register_consumer_at(%L, %L, tick).', p.queue_name, p.co_name)
      from position p
     where p.tick_time is null
    union all
    select p.queue_name, 'warning', 'consumer_lag',
           case
               when p.sub_batch is null
                   then format('consumer "%s" lags %s and has no open batch', p.co_name,
                               date_trunc('second', now() - p.behind_since))
               else format('consumer "%s" lags %s and works on batch %s since %s', p.co_name,
                           date_trunc('second', now() - p.behind_since), p.sub_batch,
                           date_trunc('second', p.sub_active))
           end,
           p.behind_since,
           case
               when p.sub_batch is null then 'Start it.'
               else 'See what it does with the batch, and start it if it does not run.'
           end || format(' Only if nobody wants its events any more: pgq.unregister_consumer(%L, '
                         '%L) gives up all that it has not read.',
                         p.queue_name, p.co_name)
      from position p, limits
     where now() - p.behind_since >= limits.lag
       -- After a start of the server consumers get a moment to come back.
       and now() - pg_postmaster_start_time() >= least(limits.lag, interval '1 minute')
       and p.co_name <> 'dead_letters'
    union all
    select d.queue_name, 'warning', 'retry_backlog',
           case
               when d.queue_disable_insert
                   then 'events wait for another delivery, but the queue takes no events'
               else format('%s events or more are overdue for another delivery', d.events)
           end,
           d.oldest,
           case
               when d.queue_disable_insert then 'Allow inserts into the queue.'
               else 'Something has to call pgq.maint_retry_events(): the worker or pgqd.'
           end
      from due d, limits
     where not pg_is_in_recovery()
       and (d.events > limits.retries or d.queue_disable_insert
            or greatest(d.oldest, pg_postmaster_start_time()) < now() - interval '5 minutes')
$$;
comment on function pgq._health_consumers() is 'findings about consumers and retries';
