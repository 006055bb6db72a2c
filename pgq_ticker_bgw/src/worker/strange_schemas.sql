-- Schemas in which pgq.maint_operations of PgQ 3, which trusts names alone, would run and read what
-- anybody has made. Today's looks for itself, see pgq._is_part_of.
select n.nspname
  from pg_catalog.pg_namespace n
 where n.nspname in ('pgq_node', 'londiste')
   and pg_catalog.to_regprocedure('pgq._function_exists(text, text)') is null
   and not exists (
           select
             from pg_catalog.pg_roles r
            where r.oid operator(pg_catalog.=) n.nspowner
              and r.rolsuper)
   and not exists (
           select
             from pg_catalog.pg_namespace p
            where p.nspname operator(pg_catalog.=) 'pgq'
              and p.nspowner operator(pg_catalog.=) n.nspowner)
