with free as materialized (
    select s.sub_queue, s.sub_consumer, n.tick_id
      from pgq.subscription s
      join pgq.tick p
        on p.tick_queue operator(pg_catalog.=) s.sub_queue
       and p.tick_id operator(pg_catalog.=) s.sub_last_tick
     cross join lateral (
               select t.tick_id, t.tick_snapshot, t.xmin as stored
                 from pgq.tick t
                where t.tick_queue operator(pg_catalog.=) s.sub_queue
                  and t.tick_id operator(pg_catalog.>) s.sub_last_tick
                order by t.tick_queue, t.tick_id
                limit 1) n
     where s.sub_queue operator(pg_catalog.=) (
               select q.queue_id from pgq.queue q where q.queue_name operator(pg_catalog.=) $1)
       and s.sub_consumer operator(pg_catalog.=) (
               select c.co_id from pgq.consumer c where c.co_name operator(pg_catalog.=) $2)
       and s.sub_consumer operator(pg_catalog.>) 0
       and s.sub_batch is null
       and not pgq._is_foreign_tick(n.tick_snapshot, n.stored,
                                    pg_catalog.txid_current_snapshot())
       for no key update of s skip locked
)
update pgq.subscription s
   set sub_batch = pg_catalog.nextval('pgq.batch_id_seq'::pg_catalog.regclass)
     , sub_next_tick = f.tick_id
     , sub_active = pg_catalog.now()
  from free f
 where s.sub_queue operator(pg_catalog.=) f.sub_queue
   and s.sub_consumer operator(pg_catalog.=) f.sub_consumer
returning s.sub_batch, s.sub_queue, s.sub_last_tick, s.sub_next_tick, s.sub_id
