select t.tick_snapshot::pg_catalog.text
     , t.tick_event_seq
     , n.snapshot::pg_catalog.text
     , pgq._is_foreign_tick(t.tick_snapshot, t.xmin, n.snapshot)
     , t.tick_time
  from (select pg_catalog.txid_current_snapshot() as snapshot) n
     , pgq.tick t
 where t.tick_queue operator(pg_catalog.=) $1
 order by t.tick_queue desc, t.tick_id desc
 limit 1
