select a.attname::text, pg_catalog.format_type(a.atttypid, -1), a.attgenerated <> '',
       -- Equality is the type's own, and nobody else's of a schema in the search path.
       'operator(' || coalesce((
         with recursive type (oid, owner, schema, base) as (
                select y.oid, y.typowner, y.typnamespace, y.typbasetype
                  from pg_catalog.pg_type y
                 where y.oid = a.atttypid
                union all
                select y.oid, y.typowner, y.typnamespace, y.typbasetype
                  from type t
                       join pg_catalog.pg_type y on y.oid = t.base
              )
         select pg_catalog.quote_ident(s.nspname::pg_catalog.text)::pg_catalog.text
           from type t
                join pg_catalog.pg_operator o on o.oprleft = t.oid and o.oprright = t.oid
                                             and o.oprnamespace = t.schema and o.oprowner = t.owner
                join pg_catalog.pg_namespace s on s.oid = t.schema
          where o.oprname = '='
          limit 1
       ), 'pg_catalog') || '.=)'
  from pg_catalog.pg_attribute a
       join pg_catalog.pg_class c on c.oid = a.attrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = $1
   and c.relname = $2
   and c.relkind in ('r', 'p', 'v', 'f')
   and a.attnum > 0
   and not a.attisdropped
