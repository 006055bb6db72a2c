select a.attname::pg_catalog.text,
       pg_catalog.format('%I.%I', u.nspname, v.typname),
       (a.attgenerated operator(pg_catalog.<>) '')::pg_catalog.text,
       -- Equality is the type's own, and nobody else's of a schema in the search path.
       pg_catalog.format('operator(%s.=)', coalesce((
         with recursive type (oid, owner, schema, base) as (
                select y.oid, y.typowner, y.typnamespace, y.typbasetype
                  from pg_catalog.pg_type y
                 where y.oid operator(pg_catalog.=) a.atttypid
                union all
                select y.oid, y.typowner, y.typnamespace, y.typbasetype
                  from type t
                       join pg_catalog.pg_type y on y.oid operator(pg_catalog.=) t.base
              )
         select pg_catalog.quote_ident(s.nspname::pg_catalog.text)
           from type t
                join pg_catalog.pg_operator o
                  on o.oprleft operator(pg_catalog.=) t.oid
                 and o.oprright operator(pg_catalog.=) t.oid
                 and o.oprnamespace operator(pg_catalog.=) t.schema
                 and o.oprowner operator(pg_catalog.=) t.owner
                join pg_catalog.pg_namespace s on s.oid operator(pg_catalog.=) t.schema
          where o.oprname operator(pg_catalog.=) '='
          limit 1
       ), 'pg_catalog')),
       c.relkind::pg_catalog.text,
       -- What is one text for all texts of a value; % stands for the value.
       (with recursive type (oid, base, kind) as (
               select y.oid, y.typbasetype, y.typtype
                 from pg_catalog.pg_type y
                where y.oid operator(pg_catalog.=) a.atttypid
               union all
               select y.oid, y.typbasetype, y.typtype
                 from type t
                      join pg_catalog.pg_type y on y.oid operator(pg_catalog.=) t.base
             )
        select case when t.kind operator(pg_catalog.=) 'e' then '%' else s.one_text end
          from type t
               left join pg_catalog.pg_collation l
                 on l.oid operator(pg_catalog.=) a.attcollation
               left join (values
                   ('pg_catalog.int2'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.int4'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.int8'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.uuid'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.oid'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.name'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.inet'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.cidr'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.macaddr'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.macaddr8'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.bit'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.varbit'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.text'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.varchar'::pg_catalog.regtype::pg_catalog.oid, '%'),
                   ('pg_catalog.bpchar'::pg_catalog.regtype::pg_catalog.oid,
                    'pg_catalog.rtrim(%::pg_catalog.text, '' '')'),
                   ('pg_catalog.bool'::pg_catalog.regtype::pg_catalog.oid, '%::pg_catalog.text'),
                   ('pg_catalog.numeric'::pg_catalog.regtype::pg_catalog.oid,
                    'pg_catalog.trim_scale(%)::pg_catalog.text'),
                   ('pg_catalog.bytea'::pg_catalog.regtype::pg_catalog.oid,
                    'pg_catalog.encode(%, ''hex'')'),
                   ('pg_catalog.date'::pg_catalog.regtype::pg_catalog.oid,
                    'pg_catalog.encode(pg_catalog.date_send(%), ''hex'')'),
                   ('pg_catalog.time'::pg_catalog.regtype::pg_catalog.oid,
                    'pg_catalog.encode(pg_catalog.time_send(%), ''hex'')'),
                   ('pg_catalog.timetz'::pg_catalog.regtype::pg_catalog.oid,
                    'pg_catalog.encode(pg_catalog.timetz_send(%), ''hex'')'),
                   ('pg_catalog.timestamp'::pg_catalog.regtype::pg_catalog.oid,
                    'pg_catalog.encode(pg_catalog.timestamp_send(%), ''hex'')'),
                   ('pg_catalog.timestamptz'::pg_catalog.regtype::pg_catalog.oid,
                    'pg_catalog.encode(pg_catalog.timestamptz_send(%), ''hex'')')
               ) s (type, one_text)
                 on s.type operator(pg_catalog.=) t.oid
                and coalesce(l.collisdeterministic, true)
         where t.base operator(pg_catalog.=) 0::pg_catalog.oid)
  from pg_catalog.pg_attribute a
       join pg_catalog.pg_type v on v.oid operator(pg_catalog.=) a.atttypid
       join pg_catalog.pg_namespace u on u.oid operator(pg_catalog.=) v.typnamespace
       join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) a.attrelid
       join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
 where n.nspname operator(pg_catalog.=) $1
   and c.relname operator(pg_catalog.=) $2
   and c.relkind operator(pg_catalog.=) any ('{r,p,v,f}')
   and a.attnum operator(pg_catalog.>) 0
   and not a.attisdropped
