select s.sub_queue, s.sub_last_tick, s.sub_next_tick, s.sub_id
     , array(select a.as_msg_id
               from pgq.aside a
              where a.as_queue operator(pg_catalog.=) s.sub_queue
                and a.as_sub operator(pg_catalog.=) s.sub_id
                and a.as_tick operator(pg_catalog.=) s.sub_last_tick)
  from pgq.page p
  join pgq.subscription s
    on s.sub_queue operator(pg_catalog.=) p.page_queue
   and s.sub_consumer operator(pg_catalog.=) p.page_consumer
   and s.sub_batch operator(pg_catalog.=) p.page_batch
 where p.page_id operator(pg_catalog.=) $1
   and p.page_end is not null
   and p.page_consumer operator(pg_catalog.>) 0
