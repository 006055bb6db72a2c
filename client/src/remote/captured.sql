select distinct pg_catalog.concat(n.nspname, '.', c.relname)
  from pg_catalog.pg_trigger t
       join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) t.tgrelid
       join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
       join pg_catalog.pg_proc p on p.oid operator(pg_catalog.=) t.tgfoid
       join pg_catalog.pg_namespace pn on pn.oid operator(pg_catalog.=) p.pronamespace
 where pn.nspname operator(pg_catalog.=) 'pgq'
   and p.proname operator(pg_catalog.=) any ('{logutriga,jsontriga}')
   and t.tgenabled operator(pg_catalog.<>) 'D'
   -- What a partition gets is captured, and named, there.
   and c.relkind operator(pg_catalog.=) 'r'
   -- The first argument is the queue; arguments end with a zero byte.
   and pg_catalog.split_part(pg_catalog.encode(t.tgargs, 'escape'), E'\\000', 1)
       operator(pg_catalog.=)
       pg_catalog.encode(pg_catalog.convert_to($1, pg_catalog.getdatabaseencoding()), 'escape')
 order by 1
