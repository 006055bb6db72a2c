select q.queue_external_ticker or q.queue_ticker_paused
     , q.queue_event_seq
     , q.queue_tick_seq
     , q.queue_data_pfx
     , q.queue_cur_table
     , q.queue_ntables
     , q.queue_switch_step1
     , q.queue_switch_step2
     , q.queue_batch_max_count
  from pgq.queue q
 where q.queue_id operator(pg_catalog.=) $1
