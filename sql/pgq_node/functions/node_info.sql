-- What the node looks like to its worker and to administrators.

create or replace function pgq_node.get_node_info(
    in i_queue_name         text,
    out ret_code            int4,
    out ret_note            text,
    out node_type           text,
    out node_name           text,
    out global_watermark    bigint,
    out local_watermark     bigint,
    out provider_node       text,
    out provider_location   text,
    out combined_queue      text,
    out combined_type       text,
    out worker_name         text,
    out worker_paused       bool,
    out worker_uptodate     bool,
    out worker_last_tick    bigint,
    out node_attrs          text,
    out target_for          text[])
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.get_node_info(1)
--      The node, its worker and its watermarks.
--      local_watermark is the lowest position of anybody who reads here, but for
--      '.global_watermark'; on a leaf it is the worker's position. worker_last_tick of a root is
--      its newest tick. target_for names the queues that are merged into this one.
-- Parameters:
--      i_queue_name    queue
-- Returns:
--      100     Ok
--      404     Unknown queue: QUEUE (the rest is null)
-- Locks: none
-- Tables: pgq_node.node_info, node_location, local_state; pgq.queue, tick, subscription, consumer
--      (read)
-- ----------------------------------------------------------------------
declare
    top_tick bigint;
begin
    select 100, 'Ok', n.node_type, n.node_name, s.provider_node, p.node_location, c.queue_name,
           c.node_type,
           n.worker_name, s.paused, s.uptodate, s.last_tick_id, n.node_attrs
      into ret_code, ret_note, node_type, node_name, provider_node, provider_location,
           combined_queue, combined_type,
           worker_name, worker_paused, worker_uptodate, worker_last_tick, node_attrs
      from pgq_node.node_info n
      left join pgq_node.node_info c on c.queue_name = n.combined_queue
      left join pgq_node.local_state s
        on s.queue_name = n.queue_name and s.consumer_name = n.worker_name
      left join pgq_node.node_location p
        on p.queue_name = s.queue_name and p.node_name = s.provider_node
     where n.queue_name = i_queue_name;
    if not found then
        ret_code := 404;
        ret_note := 'Unknown queue: ' || i_queue_name;
        return;
    end if;

    if node_type = 'leaf' then
        local_watermark := worker_last_tick;
        return;
    end if;

    select w.global_watermark, w.local_watermark, w.top_tick
      into global_watermark, local_watermark, top_tick
      from pgq_node._watermarks(i_queue_name) w;
    if node_type = 'root' then
        worker_last_tick := top_tick;
    end if;

    select array_agg(t.queue_name order by t.queue_name)
      into target_for
      from pgq_node.node_info t
     where t.combined_queue = i_queue_name;
end;
$$;
comment on function pgq_node.get_node_info(text) is
    'the node that this database is in a set: type, provider, worker, watermarks';

create or replace function pgq_node._watermarks(
    in i_queue_name         text,
    out global_watermark    bigint,
    out local_watermark     bigint,
    out top_tick            bigint)
returns record
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node._watermarks(1)
--      Watermarks and newest tick of a root's or branch's queue.
-- Parameters:
--      i_queue_name    queue
-- Returns: one row; null where there is no such queue, consumer or tick
-- Locks: none
-- Tables: pgq.queue, tick, subscription, consumer (read)
-- ----------------------------------------------------------------------
    with readers as (
        select c.co_name, s.sub_last_tick
          from pgq.queue q
          join pgq.subscription s on s.sub_queue = q.queue_id
          join pgq.consumer c on c.co_id = s.sub_consumer
         where q.queue_name = i_queue_name
    ), newest as (
        select max(t.tick_id) as tick_id
          from pgq.tick t
         where t.tick_queue = (select q.queue_id from pgq.queue q where q.queue_name = i_queue_name)
    )
    select (select r.sub_last_tick from readers r where r.co_name = '.global_watermark'),
           coalesce((select min(r.sub_last_tick)
                       from readers r
                      where r.co_name <> '.global_watermark'),
                    (select n.tick_id from newest n)),
           (select n.tick_id from newest n)
$$;
comment on function pgq_node._watermarks(text) is 'internal: watermarks and newest tick of a queue';

create or replace function pgq_node.get_worker_state(
    in i_queue_name         text,
    out ret_code            int4,
    out ret_note            text,
    out node_type           text,
    out node_name           text,
    out completed_tick      bigint,
    out provider_node       text,
    out provider_location   text,
    out paused              boolean,
    out uptodate            boolean,
    out cur_error           text,
    out worker_name         text,
    out global_watermark    bigint,
    out local_watermark     bigint,
    out local_queue_top     bigint,
    out combined_queue      text,
    out combined_type       text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.get_worker_state(1)
--      The node as its worker needs it at the start of each loop.
-- Parameters:
--      i_queue_name    queue
-- Returns:
--      100     Ok
--      404     Unknown queue: QUEUE
--      404     Unknown consumer: QUEUE/WORKER (node and worker names are filled)
--      404     Unknown provider node: QUEUE/NODE
--      404     Combinde queue node not found: QUEUE
-- Locks: none
-- Tables: pgq_node.node_info, node_location, local_state; pgq.queue, tick, subscription, consumer
--      (read)
-- ----------------------------------------------------------------------
declare
    node    pgq_node.node_info;
    state   pgq_node.local_state;
begin
    ret_code := 404;
    select n.* into node from pgq_node.node_info n where n.queue_name = i_queue_name;
    if not found then
        ret_note := 'Unknown queue: ' || i_queue_name;
        return;
    end if;
    node_type := node.node_type;
    node_name := node.node_name;
    worker_name := node.worker_name;
    combined_queue := node.combined_queue;

    select s.*
      into state
      from pgq_node.local_state s
     where s.queue_name = i_queue_name
       and s.consumer_name = node.worker_name;
    if not found then
        ret_note := 'Unknown consumer: ' || i_queue_name || '/' || node.worker_name;
        return;
    end if;
    completed_tick := state.last_tick_id;
    provider_node := state.provider_node;
    paused := state.paused;
    uptodate := state.uptodate;
    cur_error := state.cur_error;

    select p.node_location
      into provider_location
      from pgq_node.node_location p
     where p.queue_name = i_queue_name
       and p.node_name = state.provider_node;
    if not found then
        ret_note := 'Unknown provider node: ' || i_queue_name || '/' || state.provider_node;
        return;
    end if;

    if node.combined_queue is not null then
        select c.node_type
          into combined_type
          from pgq_node.node_info c
         where c.queue_name = node.combined_queue;
        if not found then
            ret_note := 'Combinde queue node not found: ' || node.combined_queue;
            return;
        end if;
    end if;

    if node.node_type = 'leaf' then
        local_watermark := state.last_tick_id;
    else
        select w.global_watermark, w.local_watermark, w.top_tick
          into global_watermark, local_watermark, local_queue_top
          from pgq_node._watermarks(i_queue_name) w;
    end if;
    ret_code := 100;
    ret_note := 'Ok';
end;
$$;
comment on function pgq_node.get_worker_state(text) is 'the node as its worker needs it';
