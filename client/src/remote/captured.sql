select distinct n.nspname::pg_catalog.text || '.' || c.relname::pg_catalog.text
  from pg_catalog.pg_trigger t
       join pg_catalog.pg_class c on c.oid = t.tgrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       join pg_catalog.pg_proc p on p.oid = t.tgfoid
       join pg_catalog.pg_namespace pn on pn.oid = p.pronamespace
 where pn.nspname = 'pgq'
   and p.proname in ('logutriga', 'jsontriga')
   and t.tgenabled <> 'D'
   -- What a partition gets is captured, and named, there.
   and c.relkind = 'r'
   -- The first argument is the queue; arguments end with a zero byte.
   and pg_catalog.split_part(pg_catalog.encode(t.tgargs, 'escape'), E'\\000', 1)
       = pg_catalog.encode(pg_catalog.convert_to($1, pg_catalog.getdatabaseencoding()), 'escape')
 order by 1
