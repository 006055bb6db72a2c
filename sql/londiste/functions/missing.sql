create or replace function londiste.local_show_missing(
    in i_queue_name text,
    out obj_kind    text,
    out obj_name    text)
returns setof record
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.local_show_missing(1)
--      What could be added to a node. On the root, tables and sequences of the database that the
--      queue does not have; elsewhere, those of the queue that the node does not have.
-- Parameters:
--      i_queue_name    queue
-- Returns:
--      obj_kind        r for a table, S for a sequence
--      obj_name        raw name, in their order by kind and name
-- Errors: 42704 queue does not exist: QUEUE
-- Locks: none
-- Tables: londiste.table_info, londiste.seq_info; pg_catalog.pg_class (read)
-- ----------------------------------------------------------------------
begin
    if not pgq_node.is_root_node(i_queue_name) then
        return query
        select 'S', i.seq_name
          from londiste.seq_info i
         where i.queue_name = i_queue_name
           and not i.local
         order by i.seq_name;
        return query
        select 'r', i.table_name
          from londiste.table_info i
         where i.queue_name = i_queue_name
           and not i.local
         order by i.table_name;
        return;
    end if;

    return query
    select c.relkind::text, n.nspname || '.' || c.relname
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'S')
       and n.nspname not in ('pgq', 'pgq_coop', 'pgq_ext', 'pgq_node', 'londiste', 'pg_catalog',
                             'information_schema')
       and n.nspname !~ '^pg_(toast|temp)'
       and not exists (
               select 1
                 from londiste.table_info i
                where i.queue_name = i_queue_name
                  and i.local
                  and c.relkind = 'r'
                  and coalesce(i.dest_table, i.table_name) = n.nspname || '.' || c.relname)
       and not exists (
               select 1
                 from londiste.seq_info i
                where i.queue_name = i_queue_name
                  and i.local
                  and c.relkind = 'S'
                  and i.seq_name = n.nspname || '.' || c.relname)
     order by c.relkind, 2;
end;
$$;
comment on function londiste.local_show_missing(text) is 'what could be added to a node';
