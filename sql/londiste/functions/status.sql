-- How a set does, as far as this database can know it without asking another one.

create or replace function londiste._state_of(i_local boolean, i_merge_state text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._state_of(2)
--      The state of a table in a word.
-- Parameters:
--      i_local         this node has the table
--      i_merge_state   as in londiste.table_info
-- Returns: ignored, waiting, copying, catching up, handing over or ok
-- ----------------------------------------------------------------------
    select case
               when not coalesce(i_local, false) then 'ignored'
               when i_merge_state is null then 'waiting'
               when i_merge_state = 'in-copy' then 'copying'
               when i_merge_state = 'catching-up' then 'catching up'
               when i_merge_state like '%-sync:%' then 'handing over'
               else 'ok'
           end
$$;
comment on function londiste._state_of(boolean, text) is 'the state of a table in a word';

create or replace function londiste.status(
    in i_queue_name     text default null,
    out queue_name      text,
    out node_name       text,
    out node_type       text,
    out is_here         boolean,
    out is_dead         boolean,
    out provider_node   text,
    out tick            int8,
    out lag             interval,
    out lag_events      int8,
    out tables_ok       int8,
    out tables_copying  int8,
    out tables_waiting  int8,
    out tables_ignored  int8,
    out paused          boolean,
    out uptodate        boolean,
    out worker_name     text,
    out worker_state    text,
    out worker_place    text,
    out worker_pid      int4,
    out worker_seen     timestamptz,
    out sqlstate        text,
    out error           text,
    out failing_since   timestamptz,
    out held_by         text,
    out moving_to       text)
returns setof record
language sql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.status(1)
--      The nodes of a set, as far as this database knows of them. No other one is asked: a node
--      that reads here is known by its place in the queue, and others by their names. For a node's
--      own numbers call it there.
-- Parameters:
--      i_queue_name    queue; null: all
-- Returns: a row a queue and node, this database's own first
--      node_type       root, branch or leaf; null of other nodes
--      is_here         the node is this database's
--      is_dead         it is tagged dead
--      provider_node   from whom it reads; null where that is not known, and of a root
--      tick            of a root its newest tick; else the tick up to which the node has all
--      lag             age of that tick; null on a leaf, whose provider has it: a set that gets no
--                      events lays a tick every ticker_idle_period, and lags as much
--      lag_events      about how many ticked events wait for a node that reads here
--      tables_ok, tables_copying, tables_waiting, tables_ignored
--                      tables in sync; on their way there; whose copy has not begun; not attached
--      paused, uptodate
--                      of the node's worker: it rests; it has seen the latest change to its state
--      worker_state    working, failing, starting; not asked for here: see worker_status; none: no
--                      worker of ours runs. A root needs none where the server's maintenance runs
--      worker_place    server, or program
--      worker_pid      server process of the worker
--      worker_seen     when the node's worker has reported last, whoever's it is
--      sqlstate, error, failing_since
--                      with what the worker fails, or else a copy, and since when; the first is
--                      known of workers inside the server only
--      held_by         the consumer that keeps the most events in this node's queue
--      moving_to       the node is half way to this provider: see change_provider
-- Locks: none
-- Tables: londiste.table_info, worker, worker_error, provider_change; pgq_node.node_info,
--      node_location, local_state, subscriber_info, consumer_seen; pgq.queue, tick,
--      subscription, consumer (read)
-- ----------------------------------------------------------------------
    with own as (
        select n.queue_name, i.node_name, i.node_type, i.provider_node, i.worker_name,
               i.worker_last_tick, i.worker_paused, i.worker_uptodate
          from pgq_node.node_info n
          cross join lateral pgq_node.get_node_info(n.queue_name) i
         where coalesce(n.queue_name = i_queue_name, true)
    ), tables as (
        select t.queue_name,
               count(*) filter (where s.state = 'ok') as ok,
               count(*) filter (where s.state in ('copying', 'catching up', 'handing over'))
                   as copying,
               count(*) filter (where s.state = 'waiting') as waiting,
               count(*) filter (where s.state = 'ignored') as ignored
          from londiste.table_info t
          cross join lateral londiste._state_of(t.local, t.merge_state) s(state)
         group by t.queue_name
    )
    select o.queue_name, m.node_name,
           case when h.is_here then o.node_type end,
           h.is_here,
           m.dead,
           case
               when h.is_here and o.node_type <> 'root' then o.provider_node
               when s.worker_name is not null then o.node_name
           end,
           case when h.is_here then o.worker_last_tick else r.last_tick end,
           case when h.is_here then q.ticker_lag else r.lag end,
           r.pending_events,
           case when h.is_here then coalesce(t.ok, 0) end,
           case when h.is_here then coalesce(t.copying, 0) end,
           case when h.is_here then coalesce(t.waiting, 0) end,
           case when h.is_here then coalesce(t.ignored, 0) end,
           case when h.is_here then o.worker_paused end,
           case when h.is_here then o.worker_uptodate end,
           case when h.is_here then o.worker_name else s.worker_name end,
           case
               when not h.is_here then null
               when p.pid is not null and e.is_workers then 'failing'
               when p.pid is not null then 'working'
               when w.state is not null then w.state
               else 'none'
           end,
           case when h.is_here then p.place end,
           case when h.is_here then p.pid end,
           case when h.is_here then c.seen else current_timestamp - r.last_seen end,
           e.sqlstate,
           e.error,
           e.failing_since,
           k.consumer_name,
           v.new_provider
      from own o
      join pgq_node.node_location m on m.queue_name = o.queue_name
      cross join lateral (select m.node_name = o.node_name) h(is_here)
      left join pgq_node.subscriber_info s
        on s.queue_name = o.queue_name and s.subscriber_node = m.node_name
      left join lateral (
                select i.lag, i.last_seen, i.last_tick, i.pending_events
                  from pgq.get_consumer_info(o.queue_name, s.worker_name) i
                 where s.worker_name is not null) r on true
      left join lateral (
                select i.ticker_lag from pgq.get_queue_info(o.queue_name) i where h.is_here
           ) q on true
      left join tables t on t.queue_name = o.queue_name
      left join londiste.provider_change v on v.queue_name = o.queue_name and h.is_here
      left join pgq_node.consumer_seen c
        on c.queue_name = o.queue_name and c.consumer_name = o.worker_name
      left join lateral (
                select x.pid, x.place
                  from londiste._processes() x
                 where x.queue_name = o.queue_name
                   and x.consumer_name = o.worker_name
                   and h.is_here
                 limit 1) p on true
      left join lateral (
                select x.state
                  from londiste.worker_status(o.queue_name) x
                 where h.is_here
                 limit 1) w on true
      left join lateral (
                select x.sqlstate,
                       coalesce(x.message, y.cur_error) as error,
                       x.first_time as failing_since,
                       coalesce(x.consumer_name, y.consumer_name) = o.worker_name as is_workers
                  from (select v.* from londiste.worker_error v
                         where v.queue_name = o.queue_name) x
                  full join (select v.* from pgq_node.local_state v
                              where v.queue_name = o.queue_name
                                and v.cur_error is not null) y
                    on y.consumer_name = x.consumer_name
                 where h.is_here
                 order by is_workers desc, failing_since nulls last, error
                 limit 1) e on true
      left join lateral (
                select i.consumer_name
                  from pgq.get_consumer_info(o.queue_name) i
                 where h.is_here
                   and i.consumer_name <> '.global_watermark'
                 order by i.last_tick, i.consumer_name
                 limit 1) k on o.node_type <> 'leaf'
     order by o.queue_name, h.is_here desc, s.worker_name is null, m.node_name
$$;
comment on function londiste.status(text) is
    'the nodes of a set, as far as this database knows of them';
