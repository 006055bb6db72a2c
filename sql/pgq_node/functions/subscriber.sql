-- Nodes that read from this one. Each is two consumers of the queue here: its worker, which reads,
-- and '.NODE.watermark', whose position is what the node's own subtree still needs.

create or replace function pgq_node.register_subscriber(
    in i_queue_name         text,
    in i_remote_node_name   text,
    in i_remote_worker_name text,
    in i_custom_tick_id     int8,
    out ret_code            int4,
    out ret_note            text,
    out global_watermark    bigint)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.register_subscriber(4)
--      Let another node read from this one. The node's location must be registered before.
-- Parameters:
--      i_queue_name            queue
--      i_remote_node_name      subscriber
--      i_remote_worker_name    its worker
--      i_custom_tick_id        where the worker starts; null: at the global watermark
-- Returns: and the set's global watermark
--      200     Subscriber registered: NODE
--      201     Subscriber already registered: NODE (same worker; positions stay, so a takeover can
--              be run again)
--      401     Cannot subscribe to leaf node
--      404     Unknown queue: QUEUE
-- Errors:
--      23503   location of the subscriber is not registered
--      23505   the node is subscribed with another worker
--      42704   no such tick (raised by pgq.register_consumer_at)
-- Locks: this node's row in node_info
-- Tables: pgq_node.node_info, subscriber_info; pgq.subscription, consumer
-- ----------------------------------------------------------------------
declare
    node            pgq_node.node_info;
    watermark_name  text := '.' || i_remote_node_name || '.watermark';
begin
    select n.* into node from pgq_node.node_info n where n.queue_name = i_queue_name for update;
    if not found then
        ret_code := 404;
        ret_note := 'Unknown queue: ' || i_queue_name;
        return;
    elsif node.node_type = 'leaf' then
        ret_code := 401;
        ret_note := 'Cannot subscribe to leaf node';
        return;
    end if;
    select w.global_watermark into global_watermark from pgq_node._watermarks(i_queue_name) w;

    if exists (
        select 1
          from pgq_node.subscriber_info s
         where s.queue_name = i_queue_name
           and s.subscriber_node = i_remote_node_name
           and s.worker_name = i_remote_worker_name)
    then
        ret_code := 201;
        ret_note := 'Subscriber already registered: ' || i_remote_node_name;
        return;
    end if;

    perform pgq.register_consumer_at(i_queue_name, watermark_name, global_watermark);
    perform pgq.register_consumer_at(i_queue_name, i_remote_worker_name,
                                     coalesce(i_custom_tick_id, global_watermark));
    insert into pgq_node.subscriber_info (queue_name, subscriber_node, worker_name, watermark_name)
    values (i_queue_name, i_remote_node_name, i_remote_worker_name, watermark_name);

    ret_code := 200;
    ret_note := 'Subscriber registered: ' || i_remote_node_name;
end;
$$;
comment on function pgq_node.register_subscriber(text, text, text, int8) is
    'let another node read from this one';

create or replace function pgq_node.unregister_subscriber(
    in i_queue_name         text,
    in i_remote_node_name   text,
    out ret_code            int4,
    out ret_note            text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.unregister_subscriber(2)
--      Another node reads from this one no more. What it has not read stays only as long as others
--      need it.
-- Parameters:
--      i_queue_name        queue
--      i_remote_node_name  subscriber
-- Returns:
--      200     Subscriber unregistered: NODE
--      304     Subscriber not found
-- Locks: this node's row in node_info
-- Tables: pgq_node.node_info, subscriber_info; pgq.subscription, consumer
-- ----------------------------------------------------------------------
declare
    subscriber pgq_node.subscriber_info;
begin
    perform 1 from pgq_node.node_info n where n.queue_name = i_queue_name for update;

    delete from pgq_node.subscriber_info s
     where s.queue_name = i_queue_name
       and s.subscriber_node = i_remote_node_name
    returning s.* into subscriber;
    if not found then
        ret_code := 304;
        ret_note := 'Subscriber not found';
        return;
    end if;

    perform pgq.unregister_consumer(i_queue_name, subscriber.watermark_name);
    perform pgq.unregister_consumer(i_queue_name, subscriber.worker_name);
    ret_code := 200;
    ret_note := 'Subscriber unregistered: ' || i_remote_node_name;
end;
$$;
comment on function pgq_node.unregister_subscriber(text, text) is
    'another node reads from this one no more';

create or replace function pgq_node.get_subscriber_info(
    in i_queue_name     text,
    out node_name       text,
    out worker_name     text,
    out node_watermark  int8)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.get_subscriber_info(1)
--      Nodes that read from this one, by name.
-- Parameters:
--      i_queue_name    queue
-- Returns: a row a subscriber; node_watermark is what its subtree still needs
-- Locks: none
-- Tables: pgq_node.subscriber_info; pgq.queue, consumer, subscription (read)
-- ----------------------------------------------------------------------
    select s.subscriber_node, s.worker_name, w.sub_last_tick
      from pgq_node.subscriber_info s
      left join pgq.queue q on q.queue_name = s.queue_name
      left join pgq.consumer c on c.co_name = s.watermark_name
      left join pgq.subscription w on w.sub_queue = q.queue_id and w.sub_consumer = c.co_id
     where s.queue_name = i_queue_name
     order by s.subscriber_node
$$;
comment on function pgq_node.get_subscriber_info(text) is
    'nodes that read from this one, and what they still need';

create or replace function pgq_node.set_subscriber_watermark(
    in i_queue_name text,
    in i_node_name  text,
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
-- Function: pgq_node.set_subscriber_watermark(3)
--      A subscriber says what its subtree still needs.
-- Parameters:
--      i_queue_name    queue
--      i_node_name     subscriber
--      i_watermark     tick
-- Returns:
--      100     watermark already set
--      200     .NODE.watermark set to TICK
--      404     node NODE not subscribed to queue
--      405     watermark must not be moved backwards
-- Errors:
--      22004   i_watermark is null
--      42704   no such tick (raised by pgq.register_consumer_at)
-- Locks: the subscriber's row in subscriber_info
-- Tables: pgq_node.subscriber_info; pgq.subscription
-- ----------------------------------------------------------------------
declare
    subscriber      pgq_node.subscriber_info;
    old_watermark   bigint;
begin
    if i_watermark is null then
        raise exception 'watermark must not be null'
            using errcode = '22004';
    end if;

    select s.*
      into subscriber
      from pgq_node.subscriber_info s
     where s.queue_name = i_queue_name
       and s.subscriber_node = i_node_name
       for update;
    if not found then
        ret_code := 404;
        ret_note := 'node ' || i_node_name || ' not subscribed to queue ';
        return;
    end if;

    select w.sub_last_tick
      into old_watermark
      from pgq.subscription w
      join pgq.queue q on q.queue_id = w.sub_queue
      join pgq.consumer c on c.co_id = w.sub_consumer
     where q.queue_name = i_queue_name
       and c.co_name = subscriber.watermark_name;
    if i_watermark < old_watermark then
        ret_code := 405;
        ret_note := 'watermark must not be moved backwards';
    elsif i_watermark = old_watermark then
        ret_code := 100;
        ret_note := 'watermark already set';
    else
        perform pgq.register_consumer_at(i_queue_name, subscriber.watermark_name, i_watermark);
        ret_code := 200;
        ret_note := subscriber.watermark_name || ' set to ' || i_watermark;
    end if;
end;
$$;
comment on function pgq_node.set_subscriber_watermark(text, text, bigint) is
    'a subscriber says what its subtree still needs';
