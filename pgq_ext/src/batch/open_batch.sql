select s.sub_queue, s.sub_last_tick, s.sub_next_tick, s.sub_id
     , array(select a.as_msg_id
               from pgq.aside a
              where a.as_queue operator(pg_catalog.=) s.sub_queue
                and a.as_sub operator(pg_catalog.=) s.sub_id
                and a.as_tick operator(pg_catalog.=) s.sub_last_tick)
  from pgq.subscription s
 where s.sub_batch operator(pg_catalog.=) $1
   and s.sub_consumer operator(pg_catalog.>) 0
