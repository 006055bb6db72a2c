-- Watermarks: ticks below the global one have been passed by every node of the set, and need not be
-- kept.

create or replace function pgq_node.set_global_watermark(
    in i_queue_name text,
    in i_watermark  bigint,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.set_global_watermark(2)
--      Move the global watermark. The root publishes it; branches move theirs when the event
--      arrives.
-- Parameters:
--      i_queue_name    queue
--      i_watermark     tick; null on the root: its local watermark
-- Returns:
--      100     Ignoring global watermark in leaf
--      200     Global watermark set to TICK
--      200     Skipping global watermark update to TICK (a branch that does not have the tick)
--      404     QueueQUEUE not found
--      500     bad usage: wm=null on branch node
-- Errors:
--      XX001   local_watermark=NULL from get_node_info()?
--      42704   no such tick on the root (raised by pgq.register_consumer_at)
--      55000   the root's queue takes no events (it is being demoted)
-- Locks: this node's row in node_info
-- Tables: pgq_node.node_info, local_state; pgq.subscription, tick; the queue's event table
-- ----------------------------------------------------------------------
declare
    node        pgq_node.node_info;
    watermark   bigint := i_watermark;
begin
    select n.* into node from pgq_node.node_info n where n.queue_name = i_queue_name for update;
    if not found then
        ret_code := 404;
        ret_note := 'Queue' || i_queue_name || ' not found';
        return;
    end if;

    case node.node_type
    when 'root' then
        if watermark is null then
            select w.local_watermark into watermark from pgq_node._watermarks(i_queue_name) w;
            if watermark is null then
                raise exception 'local_watermark=NULL from get_node_info()?'
                    using errcode = 'XX001',
                          hint = format('The root of queue "%s" has neither ticks nor consumers: '
                                        'call pgq.ticker().', i_queue_name);
            end if;
        end if;
        perform pgq.register_consumer_at(i_queue_name, '.global_watermark', watermark);
        perform pgq.insert_event(i_queue_name, 'pgq.global-watermark', watermark::text,
                                 i_queue_name, null, null, null);
        update pgq_node.local_state s
           set last_tick_id = watermark
         where s.queue_name = i_queue_name
           and s.consumer_name = node.worker_name;
    when 'branch' then
        if watermark is null then
            ret_code := 500;
            ret_note := 'bad usage: wm=null on branch node';
            return;
        end if;
        if not exists (
            select 1
              from pgq.tick t
              join pgq.queue q on q.queue_id = t.tick_queue
             where q.queue_name = i_queue_name
               and t.tick_id = watermark)
        then
            ret_code := 200;
            ret_note := 'Skipping global watermark update to ' || watermark;
            return;
        end if;
        perform pgq.register_consumer_at(i_queue_name, '.global_watermark', watermark);
    else
        ret_code := 100;
        ret_note := 'Ignoring global watermark in leaf';
        return;
    end case;

    ret_code := 200;
    ret_note := 'Global watermark set to ' || watermark;
end;
$$;
comment on function pgq_node.set_global_watermark(text, bigint) is
    'move the global watermark; on the root also publish it';

create or replace function pgq_node.set_partition_watermark(
    in i_combined_queue_name    text,
    in i_part_queue_name        text,
    in i_watermark              bigint,
    out ret_code                int4,
    out ret_note                text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.set_partition_watermark(3)
--      On a node with a combined branch: move the position of a partition's leaf to where the
--      combined queue's events, which came from another node, already contain its events.
-- Parameters:
--      i_combined_queue_name   combined queue
--      i_part_queue_name       queue of the partition
--      i_watermark             tick of the partition's queue
-- Returns:
--      200     Ok
--      201     Part-queue does not exist
--      401     Worker registration not found
-- Errors: 23502 when i_watermark is null
-- Locks: the leaf's row in local_state
-- Tables: pgq_node.node_info (read), local_state
-- ----------------------------------------------------------------------
declare
    worker text;
begin
    select part.worker_name
      into worker
      from pgq_node.node_info part
      join pgq_node.node_info combined on combined.queue_name = part.combined_queue
     where part.queue_name = i_part_queue_name
       and part.node_type = 'leaf'
       and part.combined_queue = i_combined_queue_name
       and combined.node_type = 'branch';
    if not found then
        ret_code := 201;
        ret_note := 'Part-queue does not exist';
        return;
    end if;

    update pgq_node.local_state s
       set last_tick_id = i_watermark
     where s.queue_name = i_part_queue_name
       and s.consumer_name = worker;
    if found then
        ret_code := 200;
        ret_note := 'Ok';
    else
        ret_code := 401;
        ret_note := 'Worker registration not found';
    end if;
end;
$$;
comment on function pgq_node.set_partition_watermark(text, text, bigint) is
    'move the position of a partition''s leaf that is merged into a combined branch';

create or replace function pgq_node.maint_watermark(i_queue_name text)
returns int4
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.maint_watermark(1)
--      Publish the watermark of a root that nobody else publishes: when the one published last is 5
--      minutes old. Listed by pgq.maint_operations(). Does nothing while the root is being demoted,
--      since its queue takes no events then.
-- Parameters:
--      i_queue_name    queue
-- Returns: 0, also when there is nothing to do or no such node
-- Locks: what set_global_watermark locks
-- Tables: pgq_node.node_info, pgq.queue, tick, subscription, consumer
-- ----------------------------------------------------------------------
begin
    if exists (
        select 1
          from pgq_node.node_info n
          join pgq.queue q on q.queue_name = n.queue_name
          join pgq.consumer c on c.co_name = '.global_watermark'
          join pgq.subscription s on s.sub_queue = q.queue_id and s.sub_consumer = c.co_id
          join pgq.tick t on t.tick_queue = q.queue_id and t.tick_id = s.sub_last_tick
         where n.queue_name = i_queue_name
           and n.node_type = 'root'
           and not q.queue_disable_insert
           and t.tick_time <= current_timestamp - interval '5 minutes')
    then
        perform pgq_node.set_global_watermark(i_queue_name, null);
    end if;
    return 0;
end;
$$;
comment on function pgq_node.maint_watermark(text) is
    'maintenance: publish the watermark of a root when the last one is 5 minutes old';
