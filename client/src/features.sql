select (select e.extversion::pg_catalog.text
          from pg_catalog.pg_extension e
         where e.extname operator(pg_catalog.=) 'pgq'),
       exists (select from pg_catalog.pg_proc p
                where p.pronamespace operator(pg_catalog.=) n.pgq
                  and p.proname operator(pg_catalog.=) 'insert_events'),
       exists (select from pg_catalog.pg_proc p
                where p.pronamespace operator(pg_catalog.=) n.pgq
                  and p.proname operator(pg_catalog.=) 'nack'),
       (select pg_catalog.max(p.pronargs)
          from pg_catalog.pg_proc p
         where p.pronamespace operator(pg_catalog.=) n.pgq
           and p.proname operator(pg_catalog.=) 'wait_batch'
           and p.prokind operator(pg_catalog.=) 'p'),
       n.coop is not null,
       n.ext is not null
  from (select pg_catalog.to_regnamespace('pgq')::pg_catalog.oid as pgq,
               pg_catalog.to_regnamespace('pgq_coop')::pg_catalog.oid as coop,
               pg_catalog.to_regnamespace('pgq_ext')::pg_catalog.oid as ext) n
