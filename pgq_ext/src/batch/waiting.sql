select case when q.queue_ntables operator(pg_catalog.>) 1
             and not coalesce($2 operator(pg_catalog.>) q.queue_switch_step2, false)
            then array[q.queue_cur_table,
                       (q.queue_cur_table operator(pg_catalog.+) q.queue_ntables
                            operator(pg_catalog.-) 1) operator(pg_catalog.%) q.queue_ntables]
            else array[q.queue_cur_table]
       end
     , q.queue_data_pfx
  from pgq.queue q
 where q.queue_id operator(pg_catalog.=) $1
