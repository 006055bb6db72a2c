select s.sub_queue
     , s.sub_id
     , prev.tick_id
     , cur.tick_id
     , prev.tick_snapshot::pg_catalog.text
     , cur.tick_snapshot::pg_catalog.text
     , (select pg_catalog.array_agg(t order by n)
          from pgq.batch_event_tables(s.sub_batch) with ordinality as f (t, n))
  from pgq.subscription s
  join pgq.tick prev
    on prev.tick_queue operator(pg_catalog.=) s.sub_queue and prev.tick_id operator(pg_catalog.=) s.sub_last_tick
  join pgq.tick cur
    on cur.tick_queue operator(pg_catalog.=) s.sub_queue and cur.tick_id operator(pg_catalog.=) s.sub_next_tick
 where s.sub_batch operator(pg_catalog.=) $1
