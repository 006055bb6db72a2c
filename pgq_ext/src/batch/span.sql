select p.tick_snapshot::pg_catalog.text
     , c.tick_snapshot::pg_catalog.text
     , array(select t from pgq._window_tables($1, $2, $3) t)
  from pgq.tick p, pgq.tick c
 where p.tick_queue operator(pg_catalog.=) $1
   and p.tick_id operator(pg_catalog.=) $2
   and c.tick_queue operator(pg_catalog.=) $1
   and c.tick_id operator(pg_catalog.=) $3
