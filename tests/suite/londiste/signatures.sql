-- One line per function that callers of londiste may use: how it is called, and by whom.
select format('%s(%s) returns %s%s%s%s for %s',
              p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
              case p.provolatile when 'i' then ' immutable' when 's' then ' stable' else '' end,
              case when p.proisstrict then ' strict' else '' end,
              case when p.prosecdef then ' definer' else '' end,
              (select string_agg(r.name, ', ' order by r.name)
                 from (select case a.grantee when 0 then 'public'
                                             else pg_get_userbyid(a.grantee)::text end as name
                         from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a) r
                where r.name <> 'postgres'))
  from pg_proc p
 where p.pronamespace = 'londiste'::regnamespace
   and (p.proname !~ '^_' or p.proname = '_coordinate_copy')
 order by p.proname collate "C", pg_get_function_arguments(p.oid) collate "C";
