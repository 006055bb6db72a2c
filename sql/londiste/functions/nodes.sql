-- A database becomes a node of a set, and ceases to be one, with all that other nodes must know of
-- it. pgq_node's functions of like names do what concerns one database.

create or replace function londiste._check_new_node(
    i_queue_name    text,
    i_node_name     text,
    i_node_location text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._check_new_node(3)
--      Look whether this database can become a node. That the location leads here is only looked
--      at for a superuser: nobody else can connect by a location, which has no password.
-- Parameters:
--      i_queue_name    queue
--      i_node_name     name of the node
--      i_node_location how others connect to this database
-- Returns: true; false if it is a node already
-- Errors: 22004 NULL argument; 22023 the location has a password, or leads elsewhere; those of _ask
-- ----------------------------------------------------------------------
declare
    is_super    boolean;
    here        text;
begin
    if i_queue_name is null or i_node_name is null then
        raise exception 'queue and node must not be null'
            using errcode = '22004';
    end if;
    perform londiste._check_location(i_node_location);
    if exists (select 1 from pgq_node.node_info n where n.queue_name = i_queue_name) then
        return false;
    end if;
    select r.rolsuper into is_super from pg_roles r where r.rolname = current_user;
    if is_super then
        select format('%s/%s', s.system_identifier, d.oid)
          into here
          from pg_control_system() s, pg_database d
         where d.datname = current_database();
        if here is distinct from londiste._ask(
            i_node_location,
            'select pg_catalog.format(''%s/%s'', s.system_identifier, d.oid)
               from pg_catalog.pg_control_system() s, pg_catalog.pg_database d
              where d.datname operator(pg_catalog.=) pg_catalog.current_database()')
        then
            raise exception 'the location of node "%" leads to another database', i_node_name
                using errcode = '22023',
                      hint = 'It is how all nodes, this one too, connect to this database.';
        end if;
    end if;
    return true;
end;
$$;
comment on function londiste._check_new_node(text, text, text) is
    'look whether this database can become a node';

create or replace function londiste.create_root(
    in i_queue_name     text,
    in i_node_name      text,
    in i_node_location  text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.create_root(3)
--      Make this database the root of a new set. Its worker is called NODE_worker.
-- Parameters:
--      i_queue_name    queue
--      i_node_name     name of the node
--      i_node_location how others connect to this database; without a password
-- Returns:
--      200     Node "NODE" initialized for queue "QUEUE" with type "root"
--      401     Node already initialized
-- Errors: as _check_new_node
-- Locks, Tables: as pgq_node.create_node
-- ----------------------------------------------------------------------
begin
    if not londiste._check_new_node(i_queue_name, i_node_name, i_node_location) then
        ret_code := 401;
        ret_note := 'Node already initialized';
        return;
    end if;
    perform pgq_node.register_location(i_queue_name, i_node_name, i_node_location, false);
    select c.ret_code, c.ret_note
      into ret_code, ret_note
      from pgq_node.create_node(i_queue_name, 'root', i_node_name, i_node_name || '_worker', null,
                                null, null) c;
end;
$$;
comment on function londiste.create_root(text, text, text) is
    'make this database the root of a new set';

create or replace function londiste._create_subscriber(
    in i_queue_name     text,
    in i_node_type      text,
    in i_node_name      text,
    in i_node_location  text,
    in i_provider       text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._create_subscriber(5)
--      Make this database a node that reads from another one. The root and the provider learn of it
--      first, in transactions of their own. If this one then fails, run it again, or have them
--      forget the node: pgq_node.drop_node() there. The node's worker is called NODE_worker.
-- Parameters:
--      i_queue_name    queue
--      i_node_type     branch or leaf
--      i_node_name     name of the node
--      i_node_location how others connect to this database; without a password
--      i_provider      how to connect to the provider now; not stored, so it may have a password
-- Returns:
--      200     Node "NODE" initialized for queue "QUEUE" with type "TYPE"
--      401     Node already initialized
--      401     Cannot subscribe to leaf node
--      401     Node name is taken: NODE
-- Errors: 42704 the provider is no node of the queue; 55000 the provider or the root refuses; those
--      of _check_new_node, _root_of and _ask
-- Locks, Tables: as pgq_node.create_node, and register_location and register_subscriber elsewhere
-- ----------------------------------------------------------------------
declare
    provider    json;
    root        record;
    members     json;
    target      text;
    answer      json;
    item        record;
    worker      text := i_node_name || '_worker';
    start_tick  bigint;
begin
    ret_code := 401;
    if not londiste._check_new_node(i_queue_name, i_node_name, i_node_location) then
        ret_note := 'Node already initialized';
        return;
    end if;
    provider := londiste._node_at(i_provider, i_queue_name);
    if provider ->> 'node_type' = 'leaf' then
        ret_note := 'Cannot subscribe to leaf node';
        return;
    end if;
    select * into root from londiste._root_of(i_provider, i_queue_name);
    members := londiste._ask(root.node_location,
                             'select coalesce(pg_catalog.json_agg(l), ''[]'')::pg_catalog.text
                                from pgq_node.get_queue_locations($1) l',
                             i_queue_name);
    if exists (
        select 1
          from json_to_recordset(members) m(node_name text, node_location text)
         where m.node_name = i_node_name
           and m.node_location <> i_node_location)
    then
        ret_note := 'Node name is taken: ' || i_node_name;
        return;
    end if;

    -- What is done elsewhere can be repeated.
    foreach target in array
        case provider ->> 'node_name'
            when root.node_name then array[i_provider]
            else array[root.node_location, i_provider]
        end
    loop
        answer := londiste._ask(target,
                                'select pg_catalog.row_to_json(r)::pg_catalog.text
                                   from pgq_node.register_location($1, $2, $3, false) r',
                                i_queue_name, i_node_name, i_node_location);
        if (answer ->> 'ret_code')::int4 >= 400 then
            raise exception 'the location of node "%" is refused: %', i_node_name,
                            answer ->> 'ret_note'
                using errcode = '55000',
                      hint = 'Look at pgq_node.node_location on the root and on the provider.';
        end if;
    end loop;
    answer := londiste._ask(i_provider,
                            'select pg_catalog.row_to_json(r)::pg_catalog.text
                               from pgq_node.register_subscriber($1, $2, $3, null) r',
                            i_queue_name, i_node_name, worker);
    if (answer ->> 'ret_code')::int4 >= 300 then
        raise exception 'the provider refuses node "%": %', i_node_name, answer ->> 'ret_note'
            using errcode = '55000',
                  hint = 'Look at pgq_node.get_node_info() and pgq_node.subscriber_info there.';
    end if;
    -- Not the watermark: it may have gone on since the subscription was made by an earlier attempt.
    start_tick := londiste._ask(i_provider,
                                'select c.last_tick from pgq.get_consumer_info($1, $2) c',
                                i_queue_name, worker);

    perform pgq_node.register_location(i_queue_name, m.node_name, m.node_location, m.dead)
       from json_to_recordset(members) m(node_name text, node_location text, dead boolean);
    perform pgq_node.register_location(i_queue_name, i_node_name, i_node_location, false);
    select c.ret_code, c.ret_note
      into ret_code, ret_note
      from pgq_node.create_node(i_queue_name, i_node_type, i_node_name, worker,
                                provider ->> 'node_name', start_tick, null) c;
    if ret_code >= 400 then
        return;
    end if;

    for item in
        select t.value as table_name
          from json_array_elements_text(londiste._ask(
                   i_provider,
                   'select coalesce(pg_catalog.json_agg(t.table_name), ''[]'')::pg_catalog.text
                      from londiste.get_table_list($1) t',
                   i_queue_name)::json) t
    loop
        perform londiste.global_add_table(i_queue_name, item.table_name);
    end loop;
    for item in
        select s.seq_name, s.last_value
          from json_to_recordset(londiste._ask(
                   i_provider,
                   'select coalesce(pg_catalog.json_agg(s), ''[]'')::pg_catalog.text
                      from londiste.get_seq_list($1) s',
                   i_queue_name)::json) s(seq_name text, last_value int8)
    loop
        perform londiste.global_update_seq(i_queue_name, item.seq_name, item.last_value);
    end loop;
end;
$$;
comment on function londiste._create_subscriber(text, text, text, text, text) is
    'make this database a node that reads from another one';

create or replace function londiste.create_branch(
    in i_queue_name     text,
    in i_node_name      text,
    in i_node_location  text,
    in i_provider       text,
    out ret_code        int4,
    out ret_note        text)
returns record
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.create_branch(4)
--      Make this database a branch of a set: others may read from it, and it may become root.
--      Can be run again, if it was interrupted.
-- Parameters, Returns, Errors: as _create_subscriber
-- ----------------------------------------------------------------------
    select c.ret_code, c.ret_note
      from londiste._create_subscriber(i_queue_name, 'branch', i_node_name, i_node_location,
                                       i_provider) c
$$;
comment on function londiste.create_branch(text, text, text, text) is
    'make this database a branch of a set';

create or replace function londiste.create_leaf(
    in i_queue_name     text,
    in i_node_name      text,
    in i_node_location  text,
    in i_provider       text,
    out ret_code        int4,
    out ret_note        text)
returns record
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.create_leaf(4)
--      Make this database a leaf of a set: it has the tables, and no queue.
--      Can be run again, if it was interrupted.
-- Parameters, Returns, Errors: as _create_subscriber
-- ----------------------------------------------------------------------
    select c.ret_code, c.ret_note
      from londiste._create_subscriber(i_queue_name, 'leaf', i_node_name, i_node_location,
                                       i_provider) c
$$;
comment on function londiste.create_leaf(text, text, text, text) is
    'make this database a leaf of a set';

create or replace function londiste.drop_node(
    in i_queue_name text,
    in i_node_name  text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.drop_node(2)
--      Drop this database's own node: its provider and the root forget it first, in transactions of
--      their own. Tables and their rows stay, without the queue's triggers. Can be run again. Where
--      the others are gone for good, pgq_node.drop_node() does what concerns this database.
-- Parameters:
--      i_queue_name    queue
--      i_node_name     the node; to be sure that it is this one
-- Returns:
--      200     Node dropped: NODE
--      404     Not the node of this database: NODE
--      405     Node has subscribers: NODE, NODE
--      4xx     what the provider or the root answers that does not forget it; here all is as it was
-- Errors: 55000 a table cannot be removed; those of _root_of, _ask and local_remove_table
-- Locks, Tables: as local_remove_table and pgq_node.drop_node
-- ----------------------------------------------------------------------
declare
    node        record;
    root        record;
    subscribers text;
    target      text;
    answer      json;
    item        record;
begin
    select n.node_type, n.provider_node, n.provider_location
      into node
      from pgq_node.get_node_info(i_queue_name) n
     where n.node_name = i_node_name;
    if not found then
        ret_code := 404;
        ret_note := format('Not the node of this database: %s', i_node_name);
        return;
    end if;
    select string_agg(s.subscriber_node, ', ' order by s.subscriber_node)
      into subscribers
      from pgq_node.subscriber_info s
     where s.queue_name = i_queue_name;
    if subscribers is not null then
        ret_code := 405;
        ret_note := 'Node has subscribers: ' || subscribers;
        return;
    end if;

    if node.node_type <> 'root' then
        select * into root from londiste._root_of(node.provider_location, i_queue_name);
        foreach target in array
            case root.node_name
                when node.provider_node then array[node.provider_location]
                else array[node.provider_location, root.node_location]
            end
        loop
            answer := londiste._ask(target,
                                    'select pg_catalog.row_to_json(d)::pg_catalog.text
                                       from pgq_node.drop_node($1, $2) d',
                                    i_queue_name, i_node_name);
            if (answer ->> 'ret_code')::int4 >= 400 then
                ret_code := answer ->> 'ret_code';
                ret_note := answer ->> 'ret_note';
                return;
            end if;
        end loop;
    end if;

    for item in
        select t.table_name, r.ret_code, r.ret_note
          from londiste.table_info t,
               lateral londiste.local_remove_table(t.queue_name, t.table_name) r
         where t.queue_name = i_queue_name
           and t.local
    loop
        if item.ret_code >= 400 then
            raise exception 'table "%" cannot be removed: %', item.table_name, item.ret_note
                using errcode = '55000',
                      hint = 'Another session may have changed the node: try again.';
        end if;
    end loop;
    select d.ret_code, d.ret_note
      into ret_code, ret_note
      from pgq_node.drop_node(i_queue_name, i_node_name) d;
end;
$$;
comment on function londiste.drop_node(text, text) is 'drop this database''s own node';
