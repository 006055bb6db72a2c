-- Asking other nodes. The library's code sleeps on the session's latch: cancel, timeouts, terminate
-- and shutdown end it at once, whatever the other side does.

create or replace function londiste._ask(
    i_location              text,
    i_statement             text,
    variadic i_arguments    text[] default '{}')
returns text
language c
-- ----------------------------------------------------------------------
-- Function: londiste._ask(3)
--      Run one statement in another database, in a transaction of its own that is committed there,
--      and return its one value. The connection is closed, whatever happens. A session that is
--      cancelled meanwhile does not know whether the statement was run.
-- Parameters:
--      i_location  connection string of libpq
--      i_statement one statement; names in it are qualified
--      i_arguments of $1, $2 and so on
-- Returns: the first column of the only row
-- Errors: 08001 no connection, or no longer; what the other server raises; 21000 not one value;
--      22004 NULL argument; 22021 an answer in another encoding; 22023 not a connection string;
--      58P01 no libpq; 42501 the caller is not superuser and gives no password, or the other server
--      has not asked for it, or the string names files or services of this host
-- ----------------------------------------------------------------------
as 'pgq', 'londiste_ask';
comment on function londiste._ask(text, text, text[]) is 'run one statement in another database';

create or replace function londiste._check_location(i_location text)
returns void
language c
-- ----------------------------------------------------------------------
-- Function: londiste._check_location(1)
--      Refuse a location that has a password: nodes pass locations on.
-- Parameters:
--      i_location  connection string of libpq
-- Errors: 22004 NULL; 22023 not a connection string, or one with a password; 58P01 no libpq
-- ----------------------------------------------------------------------
as 'pgq', 'londiste_check_location';
comment on function londiste._check_location(text) is 'refuse a location that has a password';

create or replace function londiste._node_at(i_location text, i_queue_name text)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._node_at(2)
--      What a node says of itself.
-- Parameters:
--      i_location      connection string
--      i_queue_name    queue
-- Returns: the row of pgq_node.get_node_info
-- Errors: 42704 it is no node of the queue; those of _ask
-- ----------------------------------------------------------------------
declare
    node json;
begin
    node := londiste._ask(i_location,
                          'select pg_catalog.row_to_json(n)::pg_catalog.text
                             from pgq_node.get_node_info($1) n',
                          i_queue_name);
    if node ->> 'node_name' is null then
        raise exception 'the other database is no node of queue "%"', i_queue_name
            using errcode = '42704',
                  hint = 'Make its node first: londiste.create_root(), londiste.create_branch().';
    end if;
    return node;
end;
$$;
comment on function londiste._node_at(text, text) is 'what a node says of itself';

create or replace function londiste._root_of(
    in i_location       text,
    in i_queue_name     text,
    out node_name       text,
    out node_location   text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._root_of(2)
--      The root of a node's set, from provider to provider.
-- Parameters:
--      i_location      how to connect to the node
--      i_queue_name    queue
-- Returns: the root's name, and how to connect to it
-- Errors: 55000 providers in a circle; those of _node_at
-- ----------------------------------------------------------------------
declare
    node json := londiste._node_at(i_location, i_queue_name);
    seen text[] := '{}';
begin
    node_location := i_location;
    while node ->> 'node_type' <> 'root' loop
        seen := seen || (node ->> 'node_name');
        node_location := node ->> 'provider_location';
        node := londiste._node_at(node_location, i_queue_name);
        if node ->> 'node_name' = any (seen) then
            raise exception 'the providers of queue "%" are a circle: %', i_queue_name,
                            array_to_string(seen, ', ')
                using errcode = '55000',
                      hint = 'Locations in pgq_node.node_location may lead to a wrong database.';
        end if;
    end loop;
    node_name := node ->> 'node_name';
end;
$$;
comment on function londiste._root_of(text, text) is 'the root of a node''s set';
