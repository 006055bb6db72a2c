-- Foreign keys that wait to be restored.

create or replace function londiste.get_table_pending_fkeys(i_table_name text)
returns setof londiste.pending_fkeys
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.get_table_pending_fkeys(1)
--      Noted foreign keys from and to a table.
-- Parameters:
--      i_table_name    the table here, a raw name
-- Returns: a row a key
-- Locks: none
-- Tables: londiste.pending_fkeys (read)
-- ----------------------------------------------------------------------
begin
    return query
    select p.*
      from londiste.pending_fkeys p
     where londiste.make_fqname(i_table_name) in (p.from_table, p.to_table)
     order by p.from_table, p.fkey_name;
end;
$$;
comment on function londiste.get_table_pending_fkeys(text) is
    'noted foreign keys from and to a table';

create or replace function londiste.get_valid_pending_fkeys(i_queue_name text)
returns setof londiste.pending_fkeys
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.get_valid_pending_fkeys(1)
--      Noted foreign keys that a queue's worker is to restore. Both tables are on the node and in
--      sync, on every queue that brings them. Of several queues one restores, whose worker applies
--      events here: the first that is merged into a root, else a branch that others are merged
--      into, else the first. Nothing applies events of a leaf that is merged into a branch, and
--      those of a root are of the root.
-- Parameters:
--      i_queue_name    queue
-- Returns: a row a key
-- Locks: none
-- Tables: londiste.pending_fkeys, londiste.table_info, pgq_node.node_info (read)
-- ----------------------------------------------------------------------
begin
    return query
    with known as (
        select coalesce(i.dest_table, i.table_name) as dest, i.queue_name, n.combined_queue,
               i.merge_state is not distinct from 'ok' and i.custom_snapshot is null as is_ready,
               n.node_type = 'root' as is_root,
               c.node_type as combined_type
          from londiste.table_info i
          join pgq_node.node_info n on n.queue_name = i.queue_name
          left join pgq_node.node_info c on c.queue_name = n.combined_queue
         where i.local)
    select p.*
      from londiste.pending_fkeys p
     where exists (select 1 from known k where k.dest = p.from_table)
       and exists (select 1 from known k where k.dest = p.to_table)
       and (select bool_and(k.is_ready)
              from known k
             where k.dest in (p.from_table, p.to_table))
       and i_queue_name = (
               select k.queue_name
                 from known k
                where k.dest in (p.from_table, p.to_table)
                  and k.combined_type is distinct from 'branch'
                order by k.combined_type is not distinct from 'root' desc,
                         exists (
                             select 1
                               from known part
                              where part.combined_queue = k.queue_name
                                and part.dest in (p.from_table, p.to_table)
                                and not k.is_root) desc,
                         k.is_root, k.queue_name
                limit 1)
     order by p.from_table, p.fkey_name;
end;
$$;
comment on function londiste.get_valid_pending_fkeys(text) is
    'noted foreign keys that a queue''s worker is to restore';
