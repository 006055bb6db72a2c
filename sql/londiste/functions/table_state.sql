-- What the node notes of a table that it has.

create or replace function londiste.local_set_table_state(
    in i_queue_name     text,
    in i_table_name     text,
    in i_snapshot       text,
    in i_merge_state    text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.local_set_table_state(4)
--      Set how far the copy of a table is. Null for both makes it start anew.
-- Parameters:
--      i_queue_name    queue
--      i_table_name    name of the table on the queue
--      i_snapshot      what the copy has seen, as txid_current_snapshot() gives it
--      i_merge_state   in-copy, catching-up, wanna-sync:TICK, do-sync:TICK, ok or null
-- Returns:
--      200     Table TABLE state set to 'STATE'
--      404     No such table: TABLE
-- Errors: 23514 dropped indexes and constraints of the table have to be made first
-- Locks: the table's row in table_info
-- Tables: londiste.table_info
-- ----------------------------------------------------------------------
declare
    full_name   text := londiste.make_fqname(i_table_name);
begin
    update londiste.table_info i
       set custom_snapshot = i_snapshot,
           merge_state = i_merge_state
     where i.queue_name = i_queue_name
       and i.table_name = full_name
       and i.local;
    if found then
        ret_code := 200;
        ret_note := format('Table %s state set to %L', full_name, i_merge_state);
    else
        ret_code := 404;
        ret_note := format('No such table: %s', full_name);
    end if;
end;
$$;
comment on function londiste.local_set_table_state(text, text, text, text) is
    'set how far the copy of a table is';

create or replace function londiste.local_set_table_attrs(
    in i_queue_name     text,
    in i_table_name     text,
    in i_table_attrs    text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.local_set_table_attrs(3)
--      Replace a table's attributes.
-- Parameters:
--      i_queue_name    queue
--      i_table_name    name of the table on the queue
--      i_table_attrs   urlencoded, or null
-- Returns:
--      200     TABLE: Table attributes stored
--      404     no such local table: TABLE
-- Locks: the table's row in table_info
-- Tables: londiste.table_info
-- ----------------------------------------------------------------------
begin
    update londiste.table_info i
       set table_attrs = i_table_attrs
     where i.queue_name = i_queue_name
       and i.table_name = londiste.make_fqname(i_table_name)
       and i.local;
    if found then
        ret_code := 200;
        ret_note := i_table_name || ': Table attributes stored';
    else
        ret_code := 404;
        ret_note := format('no such local table: %s', i_table_name);
    end if;
end;
$$;
comment on function londiste.local_set_table_attrs(text, text, text) is
    'replace a table''s attributes';

create or replace function londiste.local_set_table_struct(
    in i_queue_name     text,
    in i_table_name     text,
    in i_dropped_ddl    text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.local_set_table_struct(3)
--      Note what a copy has dropped of a table and has to make again.
-- Parameters:
--      i_queue_name    queue
--      i_table_name    name of the table on the queue
--      i_dropped_ddl   statements, or null for nothing
-- Returns:
--      200     Table struct stored
--      404     no such local table: TABLE
-- Errors: 23514 no copy is under way
-- Locks: the table's row in table_info
-- Tables: londiste.table_info
-- ----------------------------------------------------------------------
begin
    update londiste.table_info i
       set dropped_ddl = i_dropped_ddl
     where i.queue_name = i_queue_name
       and i.table_name = londiste.make_fqname(i_table_name)
       and i.local;
    if found then
        ret_code := 200;
        ret_note := 'Table struct stored';
    else
        ret_code := 404;
        ret_note := format('no such local table: %s', i_table_name);
    end if;
end;
$$;
comment on function londiste.local_set_table_struct(text, text, text) is
    'note what a copy has dropped of a table';

create or replace function londiste.local_change_handler(
    in i_queue_name     text,
    in i_table_name     text,
    in i_trg_args       text[],
    in i_table_attrs    text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.local_change_handler(4)
--      Replace a table's attributes and make its triggers anew. From code 400 on nothing has
--      changed.
-- Parameters:
--      i_queue_name    queue
--      i_table_name    name of the table on the queue
--      i_trg_args      options for the triggers, see create_trigger; null is none
--      i_table_attrs   urlencoded, or null
-- Returns:
--      200     Handler changed for table: TABLE
--      200     Table handler updated with no triggers: TABLE (those that were there are dropped)
--      400     No such set: QUEUE
--      404     no such local table: TABLE
--      403, 405
--              as create_trigger
-- Errors: 42P01 no such table here; 42501 no right to make triggers on it
-- Locks: the table's row in table_info; share row exclusive on the table, or access exclusive if
--      triggers are replaced
-- Tables: londiste.table_info
-- ----------------------------------------------------------------------
declare
    full_name   text := londiste.make_fqname(i_table_name);
    node        record;
    dest        text;
    made        record;
begin
    node := pgq_node.get_node_info(i_queue_name);
    if node.ret_code >= 400 then
        ret_code := 400;
        ret_note := format('No such set: %s', i_queue_name);
        return;
    end if;
    select coalesce(i.dest_table, i.table_name)
      into dest
      from londiste.table_info i
     where i.queue_name = i_queue_name
       and i.table_name = full_name
       and i.local
       for update;
    if not found then
        ret_code := 404;
        ret_note := format('no such local table: %s', i_table_name);
        return;
    end if;

    made := londiste.create_trigger(i_queue_name, full_name, i_trg_args, dest, node.node_type);
    if made.ret_code >= 300 then
        ret_code := made.ret_code;
        ret_note := made.ret_note;
        return;
    end if;
    ret_code := 200;
    if made.ret_code = 201 then
        perform londiste.drop_table_triggers(i_queue_name, full_name);
        ret_note := format('Table handler updated with no triggers: %s', i_table_name);
    else
        ret_note := format('Handler changed for table: %s', i_table_name);
    end if;
    update londiste.table_info i
       set table_attrs = i_table_attrs
     where i.queue_name = i_queue_name
       and i.table_name = full_name;
end;
$$;
comment on function londiste.local_change_handler(text, text, text[], text) is
    'replace a table''s attributes, and make its triggers anew';
