-- Facts about the objects of extension pgq, one a row.
with member as (
    select d.classid, d.objid
      from pg_depend d
      join pg_extension e on e.oid = d.refobjid
     where d.refclassid = 'pg_extension'::regclass
       and d.deptype = 'e'
       and e.extname = 'pgq'
), class as (
    select c.*
      from member m
      join pg_class c on c.oid = m.objid and m.classid = 'pg_class'::regclass
), acl as (
    select 'relation ' || c.oid::regclass as object, c.relacl as acl from class c
     union all
    select 'function ' || p.oid::regprocedure, p.proacl
      from member m join pg_proc p on p.oid = m.objid and m.classid = 'pg_proc'::regclass
     union all
    select 'schema ' || n.nspname, n.nspacl
      from member m join pg_namespace n on n.oid = m.objid and m.classid = 'pg_namespace'::regclass
)
select 'member: ' || pg_describe_object(classid, objid, 0) as fact from member
 union all
select format('extension: %s relocatable %s schema %s config %s',
              e.extversion, e.extrelocatable, e.extnamespace::regnamespace,
              (select string_agg(c.oid::regclass::text || coalesce(e.extcondition[c.n], ''), ','
                  order by c.oid::regclass::text)
                 from unnest(e.extconfig) with ordinality c (oid, n)))
  from pg_extension e where e.extname = 'pgq'
 union all
select format('column: %s.%s %s %s %s default %s', c.oid::regclass, a.attname,
              rank() over (partition by c.oid order by a.attnum),
              format_type(a.atttypid, a.atttypmod),
              case when a.attnotnull then 'not null' end, pg_get_expr(d.adbin, d.adrelid))
  from class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
 where c.relkind = 'r'
 union all
select format('relation: %s %s %s %s', c.oid::regclass, c.relkind, c.relpersistence, c.reloptions)
    from class c
 union all
select format('constraint: %s %s %s', n.conrelid::regclass, n.conname, pg_get_constraintdef(n.oid))
  from class c
  -- names of "not null" say where PostgreSQL 18 took them from
  join pg_constraint n on n.conrelid = c.oid and n.contype <> 'n'
 union all
select 'index: ' || pg_get_indexdef(i.indexrelid) from class c join pg_index i on i.indrelid = c.oid
 union all
select format('trigger: %s enabled %s', pg_get_triggerdef(t.oid), t.tgenabled)
  from class c join pg_trigger t on t.tgrelid = c.oid where not t.tgisinternal
 union all
select format('sequence: %s %s %s %s %s %s %s owned by %s',
              s.seqrelid::regclass, s.seqtypid::regtype, s.seqstart, s.seqincrement,
              s.seqmax, s.seqmin, s.seqcycle, (
                  select d.refobjid::regclass || '.' || d.refobjsubid from pg_depend d
                   where d.objid = s.seqrelid and d.deptype = 'a'))
  from class c join pg_sequence s on s.seqrelid = c.oid
 union all
select format('function: %s arguments %s returns %s '
              'language %s source %s library %s '
              'volatility %s strict %s definer %s parallel %s leakproof %s '
              'config %s cost %s rows %s',
              p.oid::regprocedure, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
              l.lanname, p.prosrc, p.probin,
              p.provolatile, p.proisstrict, p.prosecdef, p.proparallel, p.proleakproof, p.proconfig,
              p.procost, p.prorows)
  from member m
  join pg_proc p on p.oid = m.objid and m.classid = 'pg_proc'::regclass
  join pg_language l on l.oid = p.prolang
 union all
select format('comment: %s %s', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description)
  from member m join pg_description d on d.classoid = m.classid and d.objoid = m.objid
 union all
select format('privilege: %s %s %s to %s grant option %s',
              a.object, x.privilege_type, pg_get_userbyid(x.grantor),
              case x.grantee when 0 then 'public' else pg_get_userbyid(x.grantee)::text end,
              x.is_grantable)
  from acl a, aclexplode(a.acl) x
 union all
select 'owner only: ' || a.object from acl a where a.acl is null
 order by 1;
