with recursive extension as (
       select e.oid
         from pg_catalog.pg_extension e
        where e.extname in ('pgq', 'pgq_node', 'pgq_coop', 'pgq_ext', 'londiste')
     ), member as (
       select d.classid, d.objid
         from pg_catalog.pg_depend d
        where d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid
          and d.refobjid in (select oid from extension)
          and d.deptype = 'e'
     ), reached (oid) as (
       select c.oid
         from pg_catalog.pg_class c
              join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1
          and c.relname = $2
       union
       select step.oid
         from reached r,
              lateral (
                select i.inhrelid
                  from pg_catalog.pg_inherits i
                 where i.inhparent = r.oid
                union all
                -- Of the server's own tables pg_depend knows nothing, so the rule itself is read.
                select m.found[1]::pg_catalog.oid
                  from pg_catalog.pg_rewrite w,
                       pg_catalog.regexp_matches(
                           w.ev_action::pg_catalog.text, ':relid (\d+)', 'g') m (found)
                 where w.ev_class = r.oid
                union all
                select k.conrelid
                  from pg_catalog.pg_constraint k
                 where k.confrelid = r.oid
                   and k.contype = 'f'
                   and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))
              ) step (oid)
     )
select n.nspname::pg_catalog.text || '.' || c.relname::pg_catalog.text
  from reached r
       join pg_catalog.pg_class c on c.oid = r.oid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       left join pg_catalog.pg_foreign_table f on f.ftrelid = c.oid
 where pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_')
    or n.nspname::pg_catalog.text = any ($3)
    or c.relpersistence = 't'
    or exists (select
                 from member m
                where (m.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid
                       and m.objid = n.oid)
                   or (m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
                       and m.objid = c.oid))
    or exists (select
                 from pg_catalog.unnest(f.ftoptions) o (option)
                where pg_catalog.starts_with(o.option, 'schema_name=pg_')
                   or o.option in (select 'schema_name=' || s.name
                                     from pg_catalog.unnest($3) s (name)))
 limit 1
