select i.indexrelid::pg_catalog.text, a.attname::pg_catalog.text
  from pg_catalog.pg_index i
       join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) i.indrelid
       join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
       join pg_catalog.pg_attribute a
         on a.attrelid operator(pg_catalog.=) c.oid
        and a.attnum operator(pg_catalog.=) any (i.indkey::pg_catalog.int2[])
 where n.nspname operator(pg_catalog.=) $1
   and c.relname operator(pg_catalog.=) $2
   and i.indisunique
   and i.indisvalid
   and i.indimmediate
   and i.indpred is null
   and i.indexprs is null
   and i.indnkeyatts operator(pg_catalog.=) i.indnatts
 order by i.indexrelid
