-- Cascaded consumers: they read from a provider node and keep their position in local_state of
-- their own node.

create or replace function pgq_node.register_consumer(
    in i_queue_name     text,
    in i_consumer_name  text,
    in i_provider_node  text,
    in i_custom_tick_id int8,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.register_consumer(4)
--      Add a cascaded consumer to this node, or give it another provider and position.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     consumer
--      i_provider_node     node it reads from
--      i_custom_tick_id    last tick it has applied
-- Returns:
--      200     Consumer CONSUMER registered on queue QUEUE
--      201     Consumer already registered: QUEUE/CONSUMER (provider and position are as given now)
--      404     Unknown queue: QUEUE
-- Errors:
--      23502   an argument is null
--      23503   location of the provider is not registered
-- Locks: the node's row in node_info (shared), the consumer's row in local_state
-- Tables: pgq_node.node_info (read), local_state
-- ----------------------------------------------------------------------
declare
    is_new boolean;
begin
    if not exists (select 1 from pgq_node.node_info n where n.queue_name = i_queue_name) then
        ret_code := 404;
        ret_note := 'Unknown queue: ' || i_queue_name;
        return;
    end if;

    insert into pgq_node.local_state as s (queue_name, consumer_name, provider_node, last_tick_id)
    values (i_queue_name, i_consumer_name, i_provider_node, i_custom_tick_id)
        on conflict (queue_name, consumer_name) do update
       set provider_node = excluded.provider_node,
           last_tick_id = excluded.last_tick_id
    returning s.xmax = 0 into is_new; -- a row that was there is locked before it is updated
    if is_new then
        ret_code := 200;
        ret_note := 'Consumer ' || i_consumer_name || ' registered on queue ' || i_queue_name;
    else
        ret_code := 201;
        ret_note := 'Consumer already registered: ' || i_queue_name || '/' || i_consumer_name;
    end if;
end;
$$;
comment on function pgq_node.register_consumer(text, text, text, int8) is
    'add a cascaded consumer to this node';

create or replace function pgq_node.unregister_consumer(
    in i_queue_name     text,
    in i_consumer_name  text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.unregister_consumer(2)
--      Remove a cascaded consumer from this node. Its subscription on the provider is not touched.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     consumer
-- Returns:
--      200     Consumer CONSUMER unregistered from QUEUE (also when it was not registered)
--      404     Unknown queue: QUEUE
-- Locks: the consumer's row in local_state
-- Tables: pgq_node.node_info (read), local_state, consumer_seen
-- ----------------------------------------------------------------------
begin
    if not exists (select 1 from pgq_node.node_info n where n.queue_name = i_queue_name) then
        ret_code := 404;
        ret_note := 'Unknown queue: ' || i_queue_name;
        return;
    end if;

    delete from pgq_node.local_state s
     where s.queue_name = i_queue_name
       and s.consumer_name = i_consumer_name;
    delete from pgq_node.consumer_seen s
     where s.queue_name = i_queue_name
       and s.consumer_name = i_consumer_name;
    ret_code := 200;
    ret_note := 'Consumer ' || i_consumer_name || ' unregistered from ' || i_queue_name;
end;
$$;
comment on function pgq_node.unregister_consumer(text, text) is
    'remove a cascaded consumer from this node';

create or replace function pgq_node.change_consumer_provider(
    in i_queue_name     text,
    in i_consumer_name  text,
    in i_new_provider   text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.change_consumer_provider(3)
--      Make a cascaded consumer read from another node. It must be subscribed there at its present
--      position.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     consumer
--      i_new_provider      node
-- Returns:
--      200     Consumer provider node set to : NODE
--      404     New node not found: NODE
--      404     Unknown consumer: QUEUE/CONSUMER
-- Locks: the consumer's row in local_state
-- Tables: pgq_node.node_location (read), local_state
-- ----------------------------------------------------------------------
begin
    ret_code := 404;
    if not exists (
        select 1
          from pgq_node.node_location l
         where l.queue_name = i_queue_name
           and l.node_name = i_new_provider)
    then
        ret_note := 'New node not found: ' || i_new_provider;
        return;
    end if;

    update pgq_node.local_state s
       set provider_node = i_new_provider,
           uptodate = false
     where s.queue_name = i_queue_name
       and s.consumer_name = i_consumer_name;
    if not found then
        ret_note := 'Unknown consumer: ' || i_queue_name || '/' || i_consumer_name;
        return;
    end if;
    ret_code := 200;
    ret_note := 'Consumer provider node set to : ' || i_new_provider;
end;
$$;
comment on function pgq_node.change_consumer_provider(text, text, text) is
    'make a cascaded consumer read from another node';

create or replace function pgq_node.get_consumer_info(
    in i_queue_name     text,
    out consumer_name   text,
    out provider_node   text,
    out last_tick_id    int8,
    out paused          boolean,
    out uptodate        boolean,
    out cur_error       text)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.get_consumer_info(1)
--      Cascaded consumers of this node, by name.
-- Parameters:
--      i_queue_name    queue
-- Returns: a row a consumer
-- Locks: none
-- Tables: pgq_node.local_state (read)
-- ----------------------------------------------------------------------
    select s.consumer_name, s.provider_node, s.last_tick_id, s.paused, s.uptodate, s.cur_error
      from pgq_node.local_state s
     where s.queue_name = i_queue_name
     order by s.consumer_name
$$;
comment on function pgq_node.get_consumer_info(text) is 'cascaded consumers of this node';

create or replace function pgq_node.get_consumer_state(
    in i_queue_name         text,
    in i_consumer_name      text,
    out ret_code            int4,
    out ret_note            text,
    out node_type           text,
    out node_name           text,
    out completed_tick      bigint,
    out provider_node       text,
    out provider_location   text,
    out paused              boolean,
    out uptodate            boolean,
    out cur_error           text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.get_consumer_state(2)
--      One cascaded consumer of this node, and where its provider is.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     consumer
-- Returns:
--      100     Ok
--      404     Unknown queue: QUEUE
--      404     Unknown consumer: QUEUE/CONSUMER (node_type and node_name are filled)
--      404     Unknown provider node: QUEUE/NODE
-- Locks: none
-- Tables: pgq_node.node_info, local_state, node_location (read)
-- ----------------------------------------------------------------------
declare
    state pgq_node.local_state;
begin
    ret_code := 404;
    select n.node_type, n.node_name
      into node_type, node_name
      from pgq_node.node_info n
     where n.queue_name = i_queue_name;
    if not found then
        ret_note := 'Unknown queue: ' || i_queue_name;
        return;
    end if;

    select s.*
      into state
      from pgq_node.local_state s
     where s.queue_name = i_queue_name
       and s.consumer_name = i_consumer_name;
    if not found then
        ret_note := 'Unknown consumer: ' || i_queue_name || '/' || i_consumer_name;
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
    ret_code := 100;
    ret_note := 'Ok';
end;
$$;
comment on function pgq_node.get_consumer_state(text, text) is
    'one cascaded consumer of this node, and where its provider is';
