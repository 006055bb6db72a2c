-- The map of a set: its nodes and how to connect to them. The root publishes changes as events;
-- other nodes apply them.

create or replace function pgq_node.register_location(
    in i_queue_name     text,
    in i_node_name      text,
    in i_node_location  text,
    in i_dead           boolean,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.register_location(4)
--      Add a node to the map, or change its connect string or dead flag. On the root the change is
--      published.
-- Parameters:
--      i_queue_name    queue
--      i_node_name     node
--      i_node_location connect string; null keeps the present one, and adds nothing when the node
--                      is unknown
--      i_dead          true when the node is not to be connected to any more
-- Returns: 200 Location registered
-- Errors:
--      23502   queue, node or dead flag is null
--      55000   the queue of a root takes no events (it is being demoted)
-- Locks: this node's row in node_info
-- Tables: pgq_node.node_info, pgq_node.node_location; the queue's event table
-- ----------------------------------------------------------------------
declare
    node pgq_node.node_info;
begin
    select n.* into node from pgq_node.node_info n where n.queue_name = i_queue_name for update;

    update pgq_node.node_location l
       set node_location = coalesce(i_node_location, l.node_location),
           dead = i_dead
     where l.queue_name = i_queue_name
       and l.node_name = i_node_name;
    if not found and i_node_location is not null then
        insert into pgq_node.node_location (queue_name, node_name, node_location, dead)
        values (i_queue_name, i_node_name, i_node_location, i_dead)
            on conflict (queue_name, node_name) do update
           set node_location = excluded.node_location,
               dead = excluded.dead;
    end if;

    if node.node_type = 'root' then
        perform pgq.insert_event(i_queue_name, 'pgq.location-info', i_node_name,
                                 i_queue_name, i_node_location, i_dead::text, null);
    end if;

    ret_code := 200;
    ret_note := 'Location registered';
end;
$$;
comment on function pgq_node.register_location(text, text, text, boolean) is
    'add a node to the map of a set, or change how to connect to it';

create or replace function pgq_node.unregister_location(
    in i_queue_name text,
    in i_node_name  text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.unregister_location(2)
--      Remove a node from the map, and its subscription here if it has one. On the root the removal
--      is published.
-- Parameters:
--      i_queue_name    queue
--      i_node_name     node
-- Returns:
--      200     Ok
--      301     Location not found: QUEUE/NODE
--      403     Cannot drop node's own location
--      403     Cannot drop location of node's parent
-- Errors:
--      23503   another consumer of this node has the node as its provider
-- Locks: this node's row in node_info
-- Tables: all of pgq_node; the queue's event table
-- ----------------------------------------------------------------------
declare
    node pgq_node.node_info;
begin
    select n.* into node from pgq_node.node_info n where n.queue_name = i_queue_name for update;
    if node.node_name = i_node_name then
        ret_code := 403;
        ret_note := 'Cannot drop node''s own location';
        return;
    end if;
    if exists (
        select 1
          from pgq_node.local_state s
         where s.queue_name = i_queue_name
           and s.consumer_name = node.worker_name
           and s.provider_node = i_node_name)
    then
        ret_code := 403;
        ret_note := 'Cannot drop location of node''s parent';
        return;
    end if;

    perform pgq_node.unregister_subscriber(i_queue_name, i_node_name);

    delete from pgq_node.node_location l
     where l.queue_name = i_queue_name
       and l.node_name = i_node_name;
    if found then
        ret_code := 200;
        ret_note := 'Ok';
    else
        ret_code := 301;
        ret_note := 'Location not found: ' || i_queue_name || '/' || i_node_name;
    end if;

    if node.node_type = 'root' then
        perform pgq.insert_event(i_queue_name, 'pgq.unregister-location', i_node_name, i_queue_name,
                                 null, null, null);
    end if;
end;
$$;
comment on function pgq_node.unregister_location(text, text) is
    'remove a node from the map of a set';

create or replace function pgq_node.get_queue_locations(
    in i_queue_name     text,
    out node_name       text,
    out node_location   text,
    out dead            boolean)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.get_queue_locations(1)
--      The map of a set.
-- Parameters:
--      i_queue_name    queue
-- Returns: a row a node
-- Locks: none
-- Tables: pgq_node.node_location (read)
-- ----------------------------------------------------------------------
    select l.node_name, l.node_location, l.dead
      from pgq_node.node_location l
     where l.queue_name = i_queue_name
$$;
comment on function pgq_node.get_queue_locations(text) is
    'nodes of a set and how to connect to them';
