-- One line per function that callers of pgq may use.
select format('%s(%s) returns %s%s%s%s',
              p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
              case p.provolatile when 'i' then ' immutable' when 's' then ' stable' else '' end,
              case when p.proisstrict then ' strict' else '' end,
              case when p.prosecdef then ' definer' else '' end)
  from pg_proc p
 where p.pronamespace = 'pgq'::regnamespace
   and (p.proname !~ '^_' or p.proname = '_grant_perms_from')
 order by p.proname collate "C", pg_get_function_arguments(p.oid) collate "C";
