insert into pgq.tick (tick_queue, tick_id, tick_time, tick_snapshot, tick_event_seq)
values ($1, $2, pg_catalog.now(), $3::pg_catalog.txid_snapshot, $4)
