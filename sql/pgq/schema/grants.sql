-- Who may do what. A function of schema pgq that is not named here belongs to its owner alone.

revoke all on all routines in schema pgq from public, pgq_reader, pgq_writer, pgq_admin;

-- everybody
grant execute on function
    pgq.seq_getval(text),
    pgq.get_queue_info(),
    pgq.get_queue_info(text),
    pgq.get_consumer_info(),
    pgq.get_consumer_info(text),
    pgq.get_consumer_info(text, text),
    pgq.quote_fqname(text),
    pgq.version()
to public;

-- consumers
grant execute on function
    pgq.batch_event_sql(bigint),
    pgq.batch_event_tables(bigint),
    pgq.find_tick_helper(int4, int8, timestamptz, int8, int8, interval),
    pgq.register_consumer(text, text),
    pgq.register_consumer_at(text, text, bigint),
    pgq.unregister_consumer(text, text),
    pgq.next_batch_info(text, text),
    pgq.next_batch(text, text),
    pgq.next_batch_custom(text, text, interval, int4, interval),
    pgq.get_batch_events(bigint),
    pgq.get_batch_info(bigint),
    pgq.get_batch_cursor(bigint, text, int4, text),
    pgq.get_batch_cursor(bigint, text, int4),
    pgq.event_retry(bigint, bigint, timestamptz),
    pgq.event_retry(bigint, bigint, integer),
    pgq.batch_retry(bigint, integer),
    pgq.force_tick(text),
    pgq.finish_batch(bigint),
    pgq._batch_has_events(bigint),
    pgq._take_batch(text, text),
    pgq._why_no_batch(text, timestamptz),
    pgq._window_sql(integer, integer, bigint, bigint, text),
    pgq._window_tables(integer, bigint, bigint),
    pgq.subscribe(text, text, timestamptz, integer),
    pgq.set_slots(text, text, integer),
    pgq.receive(text, text, integer, text),
    pgq.slots(text, text),
    pgq._slot_next(text, text, text, integer[]),
    pgq._slot_window(integer, bigint, bigint),
    pgq._key_slot(bigint, text, integer),
    pgq._newest_tick(text),
    pgq._slot_pause(text, text, text),
    pgq._receive_slots(text, text, integer, text),
    pgq.seek(text, text, bigint, boolean),
    pgq.seek(text, text, timestamptz, boolean),
    pgq.unsubscribe(text, text, boolean),
    pgq.receive(text, text, integer),
    pgq.ack(bigint),
    pgq.ack(bigint, bigint),
    pgq.nack(bigint, bigint, interval, text),
    pgq.dead_letters(text, text),
    pgq.dead_replay(text, text, bigint[]),
    pgq.dead_purge(text, text, interval, bigint[]),
    pgq._page_open(text, text),
    pgq._page_end(integer, integer, bigint, bigint, bigint, integer, integer, integer),
    pgq._page_events(integer, integer, bigint, bigint, bigint, bigint, integer, integer),
    pgq._page_give(integer, integer, bigint, bigint, bigint, bigint, boolean),
    pgq._pass_ticks(integer, integer, bigint),
    pgq._window_has_events(integer, integer, bigint, bigint),
    pgq._last_empty_tick(integer, integer, bigint),
    pgq._batch_of_page(bigint),
    pgq._headers(text),
    pgq._receive_all(text, text, integer)
to pgq_reader;

grant execute on procedure pgq.wait_batch(text, text, interval, bigint, boolean),
    pgq.wait_receive(text, text, interval, integer, pgq.message[]),
    pgq.wait_receive(text, text, interval, integer, text, pgq.message[]),
    pgq._wait_tick(text, bigint, interval, boolean)
to pgq_reader;

-- monitoring
grant execute on function
    pgq.worker_status(),
    pgq.queue_health(),
    pgq.metrics()
to pgq_reader, pg_monitor;

-- producers
grant execute on function
    pgq.insert_event(text, text, text),
    pgq.insert_event(text, text, jsonb),
    pgq.insert_event(text, text, text, text, text, text, text),
    pgq.insert_events(text, text[], text[], text[], text[], text[], text[]),
    pgq.send(text, text),
    pgq.send(text, jsonb),
    pgq.send(text, text, text, text, jsonb, timestamptz, text, interval),
    pgq.send(text, text, jsonb, text, jsonb, timestamptz, text, interval),
    pgq.cancel(text, bigint),
    pgq.send_batch(text, text, text[], text[], jsonb[]),
    pgq.send_batch(text, text, jsonb[], text[], jsonb[]),
    pgq._send_batch(text, text, text[], text[], text[]),
    pgq.current_event_table(text),
    pgq.jsontriga(),
    pgq.sqltriga(),
    pgq.logutriga()
to pgq_writer;

-- operators
grant execute on function
    pgq.ticker(text, bigint, timestamptz, bigint),
    pgq.ticker(text),
    pgq.ticker(),
    pgq._tick_on_demand(text),
    pgq._due_queues(),
    pgq.maint_retry_events(),
    pgq.maint_delayed(),
    pgq.maint_empty_buckets(),
    pgq._next_delayed(),
    pgq._next_scheduled(),
    pgq.maint_schedules(),
    pgq.schedule(text, text, text, text, interval, text, text, text),
    pgq.unschedule(text),
    pgq._old_buckets(),
    pgq._rotation_period(integer, interval),
    pgq.maint_rotate_tables_step1(text),
    pgq.maint_rotate_tables_step2(),
    pgq.maint_tables_to_vacuum(),
    pgq.maint_operations(),
    pgq._function_exists(text, text),
    pgq._table_exists(text, text),
    pgq._is_part_of(regclass, oid, oid, oid),
    pgq._event_table(text),
    pgq._try_lock(text, integer),
    pgq.upgrade_schema(),
    pgq.rebase(),
    pgq.grant_perms(text),
    pgq._grant_perms_from(text, text, text, text),
    pgq.tune_storage(text),
    pgq.seq_setval(text, int8),
    pgq.create_queue(text),
    pgq.drop_queue(text, bool),
    pgq.drop_queue(text),
    pgq.set_queue_config(text, text, text),
    pgq.pause_queue(text),
    pgq.resume_queue(text),
    pgq.start_worker(),
    pgq.stop_worker(),
    pgq.insert_event_raw(text, bigint, timestamptz, integer, integer, text, text, text, text, text,
                         text),
    pgq.event_retry_raw(text, text, timestamptz, bigint, timestamptz, integer, text, text, text,
                        text, text, text)
to pgq_admin;

revoke all on
    pgq.consumer, pgq.queue, pgq.tick, pgq.subscription, pgq.event_template, pgq.retry_queue,
    pgq.queue_option, pgq.page, pgq.aside, pgq.dead_letter, pgq.slot, pgq.slot_worker
from public, pgq_reader, pgq_writer, pgq_admin;
grant select on pgq.consumer, pgq.queue, pgq.tick, pgq.subscription to public, pgq_reader;
grant select, insert, update, delete on pgq.consumer, pgq.tick, pgq.subscription to pgq_admin;
-- Not the names of tables and sequences, nor the number that they go with: only pgq.create_queue()
-- writes those.
grant select, delete on pgq.queue to pgq_admin;
grant update (
    queue_name, queue_ntables, queue_cur_table, queue_rotation_period, queue_switch_step1,
    queue_switch_step2, queue_switch_time, queue_external_ticker, queue_disable_insert,
    queue_ticker_paused, queue_ticker_max_count, queue_ticker_max_lag, queue_ticker_idle_period,
    queue_per_tx_limit, queue_extra_maint, queue_batch_max_count)
on pgq.queue to pgq_admin;
grant select on pgq.event_template to pgq_reader;
grant select, insert, truncate on pgq.event_template to pgq_admin;
grant select, insert, update, delete on pgq.retry_queue to pgq_admin;
grant select on pgq.queue_option, pgq.page, pgq.aside to public, pgq_reader;
grant select on pgq.dead_letter, pgq.slot, pgq.slot_worker to pgq_reader;
grant select, insert, update, delete on
    pgq.queue_option, pgq.page, pgq.aside, pgq.dead_letter, pgq.slot, pgq.slot_worker
to pgq_admin;
-- Nobody but functions of this schema writes these.
revoke all on pgq.unique_key, pgq.delayed, pgq.delayed_state, pgq.delayed_left, pgq.schedule
from public, pgq_reader, pgq_writer, pgq_admin;
grant select on pgq.unique_key, pgq.delayed, pgq.delayed_state, pgq.delayed_left, pgq.schedule
to pgq_admin;
