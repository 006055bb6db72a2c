-- The life of a queue, as upstream's tests go through it.
select pgq.create_queue('q');
select pgq.create_queue('q');
update pgq.queue set queue_ticker_max_lag='0', queue_ticker_idle_period='0';
select pgq.register_consumer('q','c');
select pgq.next_batch('q','c');
select pgq.ticker();
select pgq.next_batch('q','c');
select pgq.next_batch('q','c');
select queue_name, consumer_name, prev_tick_id, tick_id, seq_start, seq_end
    from pgq.get_batch_info(1);
select queue_name, ev_new, last_tick_id from pgq.get_queue_info();
select pgq.finish_batch(1);
select pgq.finish_batch(1);
select pgq.ticker();
select pgq.next_batch('q','c');
select * from pgq.batch_event_tables(2);
select count(*) from pgq.get_batch_events(2);
select pgq.finish_batch(2);
select pgq.insert_event('q','t','d1');
select pgq.insert_event('q','t','d2');
select pgq.insert_event('q','t','d3');
select pgq.current_event_table('q');
select pgq.ticker();
select * from pgq.next_batch_custom('q','c','1 hour', 10000, '10 min');
select pgq.next_batch('q','c');
select ev_id, ev_retry, ev_type, ev_data from pgq.get_batch_events(3);
begin;
select ev_id, ev_data from pgq.get_batch_cursor(3,'mycursor',2);
move 10 from mycursor;
close mycursor;
select ev_id, ev_data from pgq.get_batch_cursor(3,'mycursor',10, 'ev_id = 1');
close mycursor;
end;
select pgq.event_retry(3, 2, 0);
select pgq.event_retry(3, 2, 0);
select pgq.event_retry(3, 99, 0);
select pgq.batch_retry(3, 0);
select pgq.event_retry_raw('q','c',now(),666,now(),0,'rawtest','data',null,null,null,null);
select pgq.finish_batch(3);
select ev_owner, ev_id, ev_retry, ev_type, ev_data from pgq.retry_queue order by 2;
select pgq.maint_retry_events();
select pgq.maint_retry_events();
select pgq.ticker();
select pgq.next_batch('q','c');
select ev_id, ev_retry, ev_type, ev_data from pgq.get_batch_events(4);
select pgq.finish_batch(4);
select * from pgq.maint_operations();
select pgq.maint_rotate_tables_step1('q');
select pgq.maint_rotate_tables_step2();
update pgq.queue set queue_switch_time = now() - interval '1 day',
    queue_extra_maint = array['baz','foo.bar'];
select * from pgq.maint_operations();
select pgq.maint_rotate_tables_step1('q');
select * from pgq.maint_operations();
select pgq.maint_rotate_tables_step2();
select queue_cur_table from pgq.queue;
select nextval(queue_event_seq) from pgq.queue;
select pgq.force_tick('q');
select nextval(queue_event_seq) from pgq.queue;
create sequence foo;
select pgq.seq_getval('foo'), pgq.seq_setval('foo',10), pgq.seq_setval('foo',5),
    pgq.seq_setval('public.foo',15);
select pgq.quote_fqname('a.b.c'), pgq.quote_fqname('Foo');
select pgq.set_queue_config('q','foo','1');
select pgq.set_queue_config('q','ticker_max_lag',null);
select pgq.set_queue_config('q',null,null);
select pgq.set_queue_config('x','a','b');
select pgq.set_queue_config('q','ticker_max_count','20');
select pgq.set_queue_config('q','ticker_max_count','x');
select pgq.unregister_consumer('q','nope');
select pgq.register_consumer('nope','c');
select pgq.register_consumer_at('q','c',100);
select pgq.register_consumer_at('q','c',1);
select consumer_name, last_tick, current_batch, next_tick, pending_events
    from pgq.get_consumer_info();
select pgq.drop_queue('q');
select pgq.drop_queue('q', true);
select pgq.ticker('q');
select pgq.grant_perms('q');
select pgq.tune_storage('q');
select pgq.drop_queue('q');
select pgq.upgrade_schema();
select * from pgq.get_batch_info(1);
select pgq.batch_event_sql(1);
select pgq.batch_event_tables(1);
select pgq.batch_retry(1,1);
select pgq.next_batch('a','b');
select pgq.next_batch(null,null);
select pgq.create_queue(null);
select pgq.finish_batch(null);
select pgq.maint_rotate_tables_step1('zz');
-- Names of all kinds.
select pgq.create_queue('a.b'), pgq.create_queue('"q"'), pgq.create_queue('it''s'),
    pgq.create_queue(''), pgq.create_queue('Größe 🦀'), pgq.create_queue(repeat('x', 70));
select queue_name, queue_data_pfx, queue_event_seq, queue_tick_seq from pgq.queue order by queue_id;
select queue_name, pgq.register_consumer(queue_name, 'c.' || queue_name) from pgq.queue
    order by queue_id;
select queue_name, pgq.insert_event(queue_name, 't', queue_name),
    pgq.insert_event(queue_name, 't', null, queue_name, '', null, 'x4')
    from pgq.queue order by queue_id;
update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0';
select pgq.ticker();
select queue_name, pgq.next_batch(queue_name, 'c.' || queue_name) from pgq.queue order by queue_id;
select consumer_name, b.* from pgq.get_consumer_info() i, lateral (
    select ev_id, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4
      from pgq.get_batch_events(i.current_batch)) b order by i.current_batch, ev_id;
select queue_name, consumer_name, last_tick, current_batch, next_tick, pending_events
    from pgq.get_consumer_info();
select queue_name, consumer_name from pgq.get_consumer_info(null, 'c.a.b');
select queue_name, consumer_name from pgq.get_consumer_info('it''s');
select queue_name, queue_ntables, queue_cur_table, queue_rotation_period, queue_external_ticker,
    queue_ticker_paused, queue_ticker_max_count, queue_ticker_max_lag, queue_ticker_idle_period,
    ev_new, last_tick_id from pgq.get_queue_info();
select queue_name from pgq.get_queue_info('nobody');
select queue_name, pgq.current_event_table(queue_name) from pgq.queue order by 1;
select queue_name, pgq.drop_queue(queue_name, true) from pgq.queue order by queue_id;
select count(*) from pgq.consumer;
-- Positions of a consumer over a cycle.
select pgq.create_queue('q');
update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0';
select pgq.register_consumer('q', 'c');
select pgq.register_consumer('q', 'c');
select sub_last_tick, sub_next_tick, sub_batch from pgq.subscription;
select pgq.insert_event('q', 't', '1');
select pgq.insert_event('q', 't', '2');
select pgq.insert_event('q', 't', '3');
select pgq.next_batch('q', 'c');
select pgq.ticker('q');
select pgq.next_batch('q', 'c') is null;
select sub_last_tick, sub_next_tick, sub_batch from pgq.subscription;
select pgq.ticker('q');
select pgq.ticker('q');
select pgq.ticker('q');
select pgq.ticker('q');
select count(*) from pgq.get_batch_events((select sub_batch from pgq.subscription));
select pgq.register_consumer_at('q', 'c', 1);
select sub_last_tick, sub_next_tick, sub_batch from pgq.subscription;
select i.cur_tick_id, i.prev_tick_id from pgq.next_batch_custom('q', 'c', null, 2, null) i;
select pgq.register_consumer_at('q', 'c', 2), pgq.register_consumer_at('q', 'late', 3);
select i.cur_tick_id, i.prev_tick_id from pgq.next_batch_custom('q', 'c', null, 1, null) i;
select i.cur_tick_id, i.prev_tick_id
    from pgq.next_batch_custom('q', 'late', null, null, '1 hour') i;
select i.cur_tick_id, i.prev_tick_id
    from pgq.next_batch_custom('q', 'late', '1 hour', null, null) i;
select i.cur_tick_id, i.prev_tick_id from pgq.next_batch_custom('q', 'late', null, null, '0') i;
select pgq.unregister_consumer('q', 'late'), pgq.unregister_consumer('q', 'late'),
    pgq.unregister_consumer(null, null);
select * from pgq.find_tick_helper(99, 1, now(), 1, 1, '1 hour');
-- External ticker.
select pgq.ticker('q', 100, now(), 500);
select pgq.set_queue_config('q', 'external_ticker', 'true');
select pgq.ticker('q');
select pgq.ticker();
select pgq.ticker('q', 100, now(), 500);
select pgq.ticker('q', 100, now(), 500);
select tick_id, tick_event_seq from pgq.tick order by 1;
select pgq.seq_getval(queue_tick_seq), pgq.seq_getval(queue_event_seq) from pgq.queue;
select pgq.force_tick('q'), pgq.force_tick('nobody'), pgq.force_tick(null);
select pgq.set_queue_config('q', 'external_ticker', 'false'),
    pgq.set_queue_config('q', 'ticker_paused', 'on');
select pgq.ticker('q');
select pgq.ticker('q', 101, now(), 501);
select pgq.set_queue_config('q', 'ticker_paused', 'off');
select pgq.ticker('q');
-- Retries.
select pgq.register_consumer('q', 'retries');
select pgq.insert_event('q', 't', 'again'), pgq.insert_event('q', 't', 'again too');
select pgq.ticker('q');
select pgq.next_batch('q', 'retries');
select pgq.event_retry((select max(sub_batch) from pgq.subscription), 501, 0),
    pgq.event_retry((select max(sub_batch) from pgq.subscription), 502, now() + '1 hour');
select ev_id, ev_owner, ev_retry, ev_txid, ev_type, ev_data, ev_retry_after > now()
    from pgq.retry_queue order by 1;
select pgq.maint_retry_events();
select pgq.event_retry_raw('q', 'nobody', now(), 1, now(), 1, 't', 'd', null, null, null, null);
select pgq.event_retry_raw('q', 'retries', now(), null, now(), 7, 't', 'raw', '1', '2', '3', '4');
select pgq.maint_retry_events();
select pgq.maint_retry_events();
select pgq.finish_batch((select max(sub_batch) from pgq.subscription));
select pgq.ticker('q');
select pgq.next_batch('q', 'retries');
select ev_id, ev_retry, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4
    from pgq.get_batch_events((select max(sub_batch) from pgq.subscription));
select count(*) from pgq.get_batch_cursor(null, 'x', 1, null);
select count(*) from pgq.get_batch_cursor(1, null, 1, null);
select count(*) from pgq.get_batch_cursor(1, 'x', null, null);
begin;
select ev_id from pgq.get_batch_cursor((select max(sub_batch) from pgq.subscription), 'Odd "name',
    0, 'ev_extra1 = ''1''');
move 1 from "Odd ""name";
rollback;
select pgq.unregister_consumer('q', 'retries');
select count(*) from pgq.retry_queue;
-- Events by COPY get an id.
insert into pgq.event_8_0 (ev_time, ev_type) values (now(), 'copied') returning ev_id > 0;
insert into pgq.event_8 (ev_time, ev_type) values (now(), 'copied');
-- Disabled queues.
update pgq.queue set queue_disable_insert = true;
select pgq.insert_event('q', 't', 'd');
select pgq.current_event_table('q');
set session_replication_role = replica;
select pgq.insert_event('q', 't', 'd') > 0;
select pgq.current_event_table('q') is not null;
set session_replication_role = local;
select pgq.insert_event('q', 't', 'd');
reset session_replication_role;
-- PostgreSQL 17 has a privilege, MAINTAIN, that upstream does not hand on.
select relname, grantee::regrole, privilege_type, is_grantable from pg_class, aclexplode(relacl)
    where relname ~ '^event_' and relnamespace = 'pgq'::regnamespace and relkind in ('r', 'S')
        and privilege_type <> 'MAINTAIN' order by 1, 2, 3;
select relname, reloptions from pg_class where relname ~ '^event_'
    and relnamespace = 'pgq'::regnamespace and relkind = 'r' order by 1;
select indexdef from pg_indexes where schemaname = 'pgq' and tablename ~ '^event_' order by 1;
select pgq.drop_queue('q', true), pgq.drop_queue(null);
select pgq.drop_queue(null, true);
