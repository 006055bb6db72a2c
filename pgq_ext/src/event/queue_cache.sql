select q.queue_id
     , q.queue_cur_table
     , q.queue_data_pfx || '_' || q.queue_cur_table::pg_catalog.text
     , pg_catalog.to_regclass(q.queue_data_pfx || '_' || q.queue_cur_table::pg_catalog.text)::pg_catalog.oid
     , pg_catalog.to_regclass(q.queue_event_seq)::pg_catalog.oid
     , q.queue_disable_insert
     , q.queue_per_tx_limit
  from pgq.queue q
 where q.queue_name operator(pg_catalog.=) $1
