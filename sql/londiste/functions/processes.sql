-- Who works for the nodes of this database.

create or replace function londiste._processes(
    out queue_name      text,
    out consumer_name   text,
    out pid             int4,
    out place           text)
returns setof record
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._processes(0)
--      Sessions that work for this database's nodes: they hold the lock of a worker or of a copy.
--      It runs with its owner's rights, since the kind of a session is not for everybody to see.
-- Returns: a row a session
--      queue_name      queue
--      consumer_name   the node's worker, or a table's copy
--      pid             server process
--      place           server: it is a worker inside the server; program: a client's session
-- Locks: none
-- Tables: londiste.table_info, pgq_node.node_info, pg_catalog.pg_locks, pg_stat_activity (read)
-- ----------------------------------------------------------------------
    with consumers as (
        select n.queue_name, n.worker_name as consumer_name,
               hashtextextended(n.queue_name, 7371) as id
          from pgq_node.node_info n
         union all
        select n.queue_name, c.name, hashtextextended(c.name, 7372)
          from pgq_node.node_info n
          join londiste.table_info t on t.queue_name = n.queue_name
          cross join lateral (select format('%s.copy.%s', n.worker_name, t.table_name)) c(name)
         where t.local
           and t.merge_state is distinct from 'ok'
    )
    select c.queue_name, c.consumer_name, a.pid,
           case a.backend_type when 'client backend' then 'program' else 'server' end
      from consumers c
      join pg_locks l
        on l.classid::int8 = (c.id >> 32) & 4294967295
       and l.objid::int8 = c.id & 4294967295
      join pg_stat_activity a on a.pid = l.pid and a.datid = l.database
     where l.locktype = 'advisory'
       and l.objsubid = 1
       and l.granted
       and l.mode = 'ExclusiveLock'
       and a.datname = current_database()
       -- Whoever may connect could take such a lock.
       and pg_has_role(a.usesysid,
                       coalesce((select r.oid from pg_roles r where r.rolname = 'pgq_admin'),
                                (select s.nspowner
                                   from pg_namespace s
                                  where s.nspname = 'londiste')),
                       'member')
$$;
comment on function londiste._processes() is 'sessions that work for this database''s nodes';
