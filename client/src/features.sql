select (select e.extversion::text from pg_catalog.pg_extension e where e.extname = 'pgq'),
       exists (select from pg_catalog.pg_proc p
                where p.pronamespace = n.pgq and p.proname = 'insert_events'),
       (select max(p.pronargs) from pg_catalog.pg_proc p
         where p.pronamespace = n.pgq and p.proname = 'wait_batch' and p.prokind = 'p'),
       n.coop is not null,
       n.ext is not null
  from (select pg_catalog.to_regnamespace('pgq')::oid as pgq,
               pg_catalog.to_regnamespace('pgq_coop')::oid as coop,
               pg_catalog.to_regnamespace('pgq_ext')::oid as ext) n
