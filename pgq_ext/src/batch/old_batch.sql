select s.sub_queue, s.sub_last_tick, s.sub_next_tick, s.sub_id, '{}'::pg_catalog.int8[]
  from pgq.subscription s
 where s.sub_batch operator(pg_catalog.=) $1
