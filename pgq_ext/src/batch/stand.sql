select s.sub_queue
     , s.sub_id
     , s.sub_batch is null and p.tick_id is not null and not exists (
           select
             from pgq.tick t
            where t.tick_queue operator(pg_catalog.=) s.sub_queue
              and t.tick_id operator(pg_catalog.>) s.sub_last_tick)
     , (select pg_catalog.count(*)
          from (select
                  from pgq.subscription o
                 where o.sub_queue operator(pg_catalog.=) s.sub_queue
                 limit $3) o)
  from pgq.subscription s
  left join pgq.tick p
    on p.tick_queue operator(pg_catalog.=) s.sub_queue
   and p.tick_id operator(pg_catalog.=) s.sub_last_tick
 where s.sub_queue operator(pg_catalog.=) (
           select q.queue_id from pgq.queue q where q.queue_name operator(pg_catalog.=) $1)
   and s.sub_consumer operator(pg_catalog.=) (
           select c.co_id from pgq.consumer c where c.co_name operator(pg_catalog.=) $2)
   and s.sub_consumer operator(pg_catalog.>) 0
