-- Tables that are known on a queue, whether this node has them or not.

create or replace function londiste.global_add_table(
    in i_queue_name text,
    in i_table_name text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.global_add_table(2)
--      Make a table known on a queue, and on the queue that it is merged into.
-- Parameters:
--      i_queue_name    queue
--      i_table_name    name of the table on the queue
-- Returns:
--      200     Table added: TABLE
--      200     Table already added: TABLE
--      400     No such queue: QUEUE
-- Locks: this node's row in node_info
-- Tables: londiste.table_info, pgq_node.node_info
-- ----------------------------------------------------------------------
declare
    full_name   text := londiste.make_fqname(i_table_name);
    combined    text;
begin
    select n.combined_queue
      into combined
      from pgq_node.node_info n
     where n.queue_name = i_queue_name
       for update;
    if not found then
        ret_code := 400;
        ret_note := 'No such queue: ' || i_queue_name;
        return;
    end if;

    -- Locked as the node is, nobody else adds it now.
    ret_code := 200;
    if exists (
        select 1
          from londiste.table_info i
         where i.queue_name = i_queue_name
           and i.table_name = full_name)
    then
        ret_note := 'Table already added: ' || full_name;
        return;
    end if;
    insert into londiste.table_info (queue_name, table_name) values (i_queue_name, full_name);
    ret_note := 'Table added: ' || i_table_name;
    if combined is not null then
        perform londiste.global_add_table(combined, i_table_name);
    end if;
end;
$$;
comment on function londiste.global_add_table(text, text) is 'make a table known on a queue';

create or replace function londiste.global_remove_table(
    in i_queue_name text,
    in i_table_name text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.global_remove_table(2)
--      Forget a table. On the root nothing is published: see local_remove_table.
-- Parameters:
--      i_queue_name    queue
--      i_table_name    name of the table on the queue
-- Returns:
--      200     Table removed: TABLE
--      400     Table not found: TABLE
-- Errors: 42704 queue does not exist: QUEUE; 42501 when the caller does not own the table
-- Locks: access exclusive on the table if it has triggers of the queue
-- Tables: londiste.table_info, londiste.seq_info
-- ----------------------------------------------------------------------
declare
    full_name   text := londiste.make_fqname(i_table_name);
begin
    if not pgq_node.is_root_node(i_queue_name) then
        perform londiste.local_remove_table(i_queue_name, full_name);
    end if;
    delete from londiste.table_info i
     where i.queue_name = i_queue_name
       and i.table_name = full_name;
    if found then
        ret_code := 200;
        ret_note := 'Table removed: ' || i_table_name;
    else
        ret_code := 400;
        ret_note := 'Table not found: ' || full_name;
    end if;
end;
$$;
comment on function londiste.global_remove_table(text, text) is 'forget a table of a queue';
