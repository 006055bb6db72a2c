-- Tables of PgQ's own that change with every batch and have too many dead rows: more than $1, and
-- than a fifth of those that live.
--
-- A schema of one of these names is anybody's to make: as for pgq._is_part_of, which a database of
-- PgQ 3 lacks, the table must be a superuser's or that of schema pgq's owner, and a member of the
-- extension or in a schema of theirs.
with trusted (role) as (
    select r.oid
      from pg_catalog.pg_roles r
     where r.rolsuper
    union all
    select p.nspowner
      from pg_catalog.pg_namespace p
     where p.nspname operator(pg_catalog.=) 'pgq'
)
select pg_catalog.format('%s.%s', n.nspname, c.relname)
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
 where (n.nspname, c.relname) in (
           ('pgq', 'tick'), ('pgq', 'subscription'), ('pgq', 'queue'), ('pgq', 'consumer'),
           ('pgq', 'retry_queue'), ('pgq', 'page'), ('pgq', 'aside'), ('pgq', 'dead_letter'),
           ('pgq', 'delayed_state'), ('pgq', 'delayed_left'), ('pgq', 'schedule'),
           ('pgq', 'slot'), ('pgq', 'slot_worker'),
           ('pgq_node', 'local_state'), ('pgq_node', 'subscriber_info'),
           ('pgq_ext', 'completed_tick'), ('pgq_ext', 'completed_batch'),
           ('pgq_ext', 'completed_event'))
   and c.relkind operator(pg_catalog.=) 'r'
   and c.relowner in (select t.role from trusted t)
   and (n.nspowner in (select t.role from trusted t)
        or exists (
               select
                 from pg_catalog.pg_depend d
                 join pg_catalog.pg_extension e on e.oid operator(pg_catalog.=) d.refobjid
                where d.classid operator(pg_catalog.=)
                          'pg_catalog.pg_class'::pg_catalog.regclass
                  and d.objid operator(pg_catalog.=) c.oid
                  and d.refclassid operator(pg_catalog.=)
                          'pg_catalog.pg_extension'::pg_catalog.regclass
                  and d.deptype operator(pg_catalog.=) 'e'
                  and e.extname operator(pg_catalog.=) n.nspname))
   and pg_catalog.pg_stat_get_dead_tuples(c.oid) operator(pg_catalog.>=) greatest(
           $1, pg_catalog.pg_stat_get_live_tuples(c.oid) operator(pg_catalog./) 5)
