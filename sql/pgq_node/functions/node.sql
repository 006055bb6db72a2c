-- A node comes into being, goes away, and says what kind it is.

create or replace function pgq_node.create_node(
    in i_queue_name         text,
    in i_node_type          text,
    in i_node_name          text,
    in i_worker_name        text,
    in i_provider_name      text,
    in i_global_watermark   bigint,
    in i_combined_queue     text,
    out ret_code            int4,
    out ret_note            text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.create_node(7)
--      Make this database a node of a set. The locations of the node and of its provider must be
--      registered before.
-- Parameters:
--      i_queue_name        queue
--      i_node_type         root, branch or leaf
--      i_node_name         name of this node
--      i_worker_name       name of the node's worker
--      i_provider_name     node that this one reads from; null on a root
--      i_global_watermark  the set's watermark, from register_subscriber on the provider; null on a
--                          root
--      i_combined_queue    leaf only: local queue that its events are merged into
-- Returns:
--      200     Node "NODE" initialized for queue "QUEUE" with type "TYPE"
--      401     Node already initialized
--      401     unexpected args for root
--      401     provider not set for branch
--      401     global watermark not set for branch
--      401     non-existing queue on leaf side: QUEUE
--      401     bad node type: TYPE
-- Errors:
--      23502   queue, node, worker, or a leaf's provider or watermark is null
--      23503   location of the node or its provider is not registered
-- Locks: the new rows
-- Tables: pgq_node.node_info, pgq_node.local_state; pgq's own, through its functions
-- ----------------------------------------------------------------------
declare
    position bigint;
begin
    ret_code := 401;
    if exists (select 1 from pgq_node.node_info n where n.queue_name = i_queue_name) then
        ret_note := 'Node already initialized';
        return;
    end if;

    case i_node_type
    when 'root' then
        if coalesce(i_provider_name, i_global_watermark::text, i_combined_queue) is not null then
            ret_note := 'unexpected args for root';
            return;
        end if;
        perform pgq.create_queue(i_queue_name);
        perform pgq.register_consumer(i_queue_name, '.global_watermark');
        select s.sub_last_tick
          into position
          from pgq.subscription s
          join pgq.queue q on q.queue_id = s.sub_queue
          join pgq.consumer c on c.co_id = s.sub_consumer
         where q.queue_name = i_queue_name
           and c.co_name = '.global_watermark';
    when 'branch' then
        if i_provider_name is null then
            ret_note := 'provider not set for branch';
            return;
        elsif i_global_watermark is null then
            ret_note := 'global watermark not set for branch';
            return;
        end if;
        perform pgq.create_queue(i_queue_name);
        update pgq.queue
           set queue_external_ticker = true,
               queue_disable_insert = true
         where queue_name = i_queue_name;
        -- create_queue made tick 1.
        if i_global_watermark > 1 then
            perform pgq.ticker(i_queue_name, i_global_watermark, current_timestamp, 1);
        end if;
        perform pgq.register_consumer_at(i_queue_name, '.global_watermark', i_global_watermark);
        position := i_global_watermark;
    when 'leaf' then
        if i_combined_queue is not null
           and not exists (select 1 from pgq.queue q where q.queue_name = i_combined_queue)
        then
            ret_note := 'non-existing queue on leaf side: ' || i_combined_queue;
            return;
        end if;
        position := i_global_watermark;
    else
        ret_note := 'bad node type: ' || coalesce(i_node_type, 'null');
        return;
    end case;

    insert into pgq_node.node_info (queue_name, node_type, node_name, worker_name, combined_queue)
    values (i_queue_name, i_node_type, i_node_name, i_worker_name, i_combined_queue);
    insert into pgq_node.local_state (queue_name, consumer_name, provider_node, last_tick_id)
    values (i_queue_name, i_worker_name, coalesce(i_provider_name, case i_node_type when 'root'
                                                  then i_node_name end), position);

    ret_code := 200;
    ret_note := format('Node "%s" initialized for queue "%s" with type "%s"', i_node_name,
                       i_queue_name, i_node_type);
end;
$$;
comment on function pgq_node.create_node(text, text, text, text, text, bigint, text) is
    'make this database a node of a set';

create or replace function pgq_node.drop_node(
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
-- Function: pgq_node.drop_node(2)
--      Drop this database's own node with its queue and events, or forget another node. Can be run
--      again.
-- Parameters:
--      i_queue_name    queue
--      i_node_name     node
-- Returns:
--      200     Node dropped: NODE (also when there is nothing to drop)
--      405     Cannot drop provider node: NODE
-- Locks: the node's row in node_info; what pgq.drop_queue locks
-- Tables: all of pgq_node; pgq's own, through its functions
-- ----------------------------------------------------------------------
declare
    node    pgq_node.node_info;
    is_node boolean;
begin
    select n.* into node from pgq_node.node_info n where n.queue_name = i_queue_name for update;
    is_node := found;

    if is_node and node.node_name <> i_node_name then
        if exists (
            select 1
              from pgq_node.local_state s
             where s.queue_name = i_queue_name
               and s.consumer_name = node.worker_name
               and s.provider_node = i_node_name)
        then
            ret_code := 405;
            ret_note := 'Cannot drop provider node: ' || i_node_name;
            return;
        end if;
        perform pgq_node.unregister_subscriber(i_queue_name, i_node_name);
    else
        delete from pgq_node.subscriber_info s where s.queue_name = i_queue_name;
        delete from pgq_node.local_state s where s.queue_name = i_queue_name;
        delete from pgq_node.consumer_seen s where s.queue_name = i_queue_name;
        delete from pgq_node.node_info n where n.queue_name = i_queue_name;
        if exists (select 1 from pgq.queue q where q.queue_name = i_queue_name) then
            perform pgq.drop_queue(i_queue_name, true);
        end if;
        delete from pgq_node.node_location l
         where l.queue_name = i_queue_name
           and l.node_name <> i_node_name;
    end if;

    perform pgq_node.unregister_location(i_queue_name, i_node_name);
    ret_code := 200;
    ret_note := 'Node dropped: ' || i_node_name;
end;
$$;
comment on function pgq_node.drop_node(text, text) is
    'drop this database''s own node with its queue, or forget another node';

create or replace function pgq_node.set_node_attrs(
    in i_queue_name text,
    in i_node_attrs text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.set_node_attrs(2)
--      Set the node's attributes, which are for its worker.
-- Parameters:
--      i_queue_name    queue
--      i_node_attrs    urlencoded dictionary; known key: sync_watermark=NODE,NODE
-- Returns:
--      200     Node attributes updated
--      404     Node not found
-- Locks: the node's row in node_info
-- Tables: pgq_node.node_info
-- ----------------------------------------------------------------------
begin
    update pgq_node.node_info n
       set node_attrs = i_node_attrs
     where n.queue_name = i_queue_name;
    if found then
        ret_code := 200;
        ret_note := 'Node attributes updated';
    else
        ret_code := 404;
        ret_note := 'Node not found';
    end if;
end;
$$;
comment on function pgq_node.set_node_attrs(text, text) is
    'set the attributes that the node''s worker reads';

create or replace function pgq_node.is_root_node(i_queue_name text)
returns bool
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.is_root_node(1)
--      Is this database the root of the set?
-- Parameters:
--      i_queue_name    queue
-- Returns: true or false
-- Errors: 42704 when this database is no node of the set
-- Locks: none
-- Tables: pgq_node.node_info (read, with the caller's rights)
-- ----------------------------------------------------------------------
declare
    answer bool;
begin
    select n.node_type = 'root'
      into answer
      from pgq_node.node_info n
     where n.queue_name = i_queue_name;
    if not found then
        raise exception 'queue does not exist: %', i_queue_name
            using errcode = '42704',
                  hint = 'It is no node of this database: see pgq_node.node_info, and '
                         'pgq_node.create_node().';
    end if;
    return answer;
end;
$$;
comment on function pgq_node.is_root_node(text) is 'is this database the root of the set?';

create or replace function pgq_node.is_leaf_node(i_queue_name text)
returns bool
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.is_leaf_node(1)
--      Is this database a leaf of the set?
-- Parameters, Returns, Errors, Locks, Tables: as is_root_node
-- ----------------------------------------------------------------------
declare
    answer bool;
begin
    select n.node_type = 'leaf'
      into answer
      from pgq_node.node_info n
     where n.queue_name = i_queue_name;
    if not found then
        raise exception 'queue does not exist: %', i_queue_name
            using errcode = '42704',
                  hint = 'It is no node of this database: see pgq_node.node_info, and '
                         'pgq_node.create_node().';
    end if;
    return answer;
end;
$$;
comment on function pgq_node.is_leaf_node(text) is 'is this database a leaf of the set?';
