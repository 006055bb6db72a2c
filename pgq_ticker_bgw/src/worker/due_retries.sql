-- Whether an event is due that its queue would take.
select 1
  from pgq.retry_queue r
 where r.ev_retry_after operator(pg_catalog.<=) pg_catalog.now()
   and exists (
           select 1
             from pgq.queue q
            where q.queue_id operator(pg_catalog.=) r.ev_queue
              and not q.queue_disable_insert)
 limit 1
