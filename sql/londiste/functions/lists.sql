-- What is known on a queue.

create or replace function londiste.get_table_list(
    in i_queue_name     text,
    out table_name      text,
    out local           boolean,
    out merge_state     text,
    out custom_snapshot text,
    out table_attrs     text,
    out dropped_ddl     text,
    out copy_role       text,
    out copy_pos        int4,
    out dest_table      text)
returns setof record
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.get_table_list(1)
--      Tables that are known on a queue, and what this node has of them.
-- Parameters:
--      i_queue_name    queue
-- Returns: a row a table, in the order in which they were added:
--      table_name      name on the queue
--      local           this node has it
--      merge_state     null: needs a copy; in-copy, catching-up, wanna-sync:TICK, do-sync:TICK; ok
--      custom_snapshot what the copy has seen: events of its transactions are skipped
--      table_attrs     urlencoded: handler, copy_node, skip_truncate, max_parallel_copy
--      dropped_ddl     what the copy has dropped and has to make again
--      copy_role, copy_pos
--                      see _coordinate_copy; null and 0 unless a copy runs
--      dest_table      the table here, if it is called otherwise
-- Locks: none
-- Tables: londiste.table_info, pgq_node.node_info (read)
-- ----------------------------------------------------------------------
begin
    for table_name, local, merge_state, custom_snapshot, table_attrs, dropped_ddl, dest_table in
        select i.table_name, i.local, i.merge_state, i.custom_snapshot, i.table_attrs,
               i.dropped_ddl, i.dest_table
          from londiste.table_info i
         where i.queue_name = i_queue_name
         order by i.nr, i.table_name
    loop
        copy_role := null;
        copy_pos := 0;
        if merge_state in ('in-copy', 'catching-up') then
            select c.copy_role, c.copy_pos
              into copy_role, copy_pos
              from londiste._coordinate_copy(i_queue_name, table_name) c;
        end if;
        return next;
    end loop;
end;
$$;
comment on function londiste.get_table_list(text) is
    'tables that are known on a queue, and what this node has of them';

create or replace function londiste.get_seq_list(
    in i_queue_name text,
    out seq_name    text,
    out last_value  int8,
    out local       boolean)
returns setof record
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.get_seq_list(1)
--      Sequences that are known on a queue.
-- Parameters:
--      i_queue_name    queue
-- Returns: a row a sequence, in the order in which they were added:
--      seq_name        name
--      last_value      last value that was published
--      local           this node has it
-- Locks: none
-- Tables: londiste.seq_info (read)
-- ----------------------------------------------------------------------
begin
    return query
    select i.seq_name, i.last_value, i.local
      from londiste.seq_info i
     where i.queue_name = i_queue_name
     order by i.nr, i.seq_name;
end;
$$;
comment on function londiste.get_seq_list(text) is 'sequences that are known on a queue';
