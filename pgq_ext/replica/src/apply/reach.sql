with recursive extension as (
       select e.oid
         from pg_catalog.pg_extension e
        where e.extname operator(pg_catalog.=) any ('{pgq,pgq_node,pgq_coop,pgq_ext,londiste}')
     ), member as (
       select d.classid, d.objid
         from pg_catalog.pg_depend d
        where d.refclassid operator(pg_catalog.=)
                  'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid
          and d.refobjid operator(pg_catalog.=) any (select oid from extension)
          and d.deptype operator(pg_catalog.=) 'e'
     ), reached (oid) as (
       select c.oid
         from pg_catalog.pg_class c
              join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
        where n.nspname operator(pg_catalog.=) $1
          and c.relname operator(pg_catalog.=) $2
       union
       select step.oid
         from reached r,
              lateral (
                select i.inhrelid
                  from pg_catalog.pg_inherits i
                 where i.inhparent operator(pg_catalog.=) r.oid
                union all
                -- Of the server's own tables pg_depend knows nothing, so the rule itself is read.
                select m.found[1]::pg_catalog.oid
                  from pg_catalog.pg_rewrite w,
                       pg_catalog.regexp_matches(
                           w.ev_action::pg_catalog.text, ':relid (\d+)', 'g') m (found)
                 where w.ev_class operator(pg_catalog.=) r.oid
                union all
                select k.conrelid
                  from pg_catalog.pg_constraint k
                 where k.confrelid operator(pg_catalog.=) r.oid
                   and k.contype operator(pg_catalog.=) 'f'
                   and (k.confdeltype operator(pg_catalog.=) any ('{c,n,d}')
                        or k.confupdtype operator(pg_catalog.=) any ('{c,n,d}'))
              ) step (oid)
     )
select pg_catalog.concat(n.nspname, '.', c.relname)
  from reached r
       join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) r.oid
       join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
       left join pg_catalog.pg_foreign_table f on f.ftrelid operator(pg_catalog.=) c.oid
 where pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_')
    or n.nspname::pg_catalog.text operator(pg_catalog.=) any ($3)
    or c.relpersistence operator(pg_catalog.=) 't'
    or exists (select
                 from member m
                where (m.classid operator(pg_catalog.=)
                           'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid
                       and m.objid operator(pg_catalog.=) n.oid)
                   or (m.classid operator(pg_catalog.=)
                           'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
                       and m.objid operator(pg_catalog.=) c.oid))
    or exists (select
                 from pg_catalog.unnest(f.ftoptions) o (option)
                where pg_catalog.starts_with(o.option, 'schema_name=pg_')
                   or o.option operator(pg_catalog.=) any (
                          select pg_catalog.concat('schema_name=', s.name)
                            from pg_catalog.unnest($3) s (name)))
 limit 1
