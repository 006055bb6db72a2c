select a.attname::text, pg_catalog.format_type(a.atttypid, -1), a.attgenerated <> ''
  from pg_catalog.pg_attribute a
       join pg_catalog.pg_class c on c.oid = a.attrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = $1
   and c.relname = $2
   and c.relkind in ('r', 'p', 'v', 'f')
   and a.attnum > 0
   and not a.attisdropped
