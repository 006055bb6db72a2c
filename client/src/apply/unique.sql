select (select pg_catalog.array_agg(a.attname::text order by a.attname::text collate "C")
          from pg_catalog.pg_attribute a
         where a.attrelid = c.oid
           and a.attnum = any (i.indkey::int2[]))
  from pg_catalog.pg_index i
       join pg_catalog.pg_class c on c.oid = i.indrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = $1
   and c.relname = $2
   and i.indisunique
   and i.indisvalid
   and i.indimmediate
   and i.indpred is null
   and i.indexprs is null
   and i.indnkeyatts = i.indnatts
