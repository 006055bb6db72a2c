-- Every function of the extensions at least once, in the ways of producers, consumers, operators
-- and tickers. Statements are run one by one, beside a worker that is busy with the same queues.

select pgq.create_queue('q');
select pgq.create_queue('other');
select pgq.create_queue('q.dead');
select pgq.set_queue_config('q', 'ticker_max_count', '1');
select pgq.set_queue_config('q', 'batch_max_count', '3');
-- Each tick of this queue has events, from the third on.
update pgq.queue set queue_rotation_period = '20 ms', queue_ticker_max_lag = '1 hour',
    queue_ticker_idle_period = '1 hour' where queue_name = 'q';
select pgq.ticker('q');
update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'
    where queue_name <> 'q';
select pgq.register_consumer('q', 'c');
select pgq.register_consumer('q', 'd');
select pgq.register_consumer_at('other', 'c', 1);
select pgq.register_consumer('q.dead', 'dead_letters');
select pgq.insert_event('q', 't', 'd');
select pgq.insert_event('q', 't', '{}'::jsonb);
select pgq.insert_event('q', 't', 'd', '1', '2', '3', '4');
select pgq.insert_events('q', '{a,b,c,d,e}', '{1,2,3,4,5}');
select pgq.insert_event('q.dead', 't', 'd');
select pgq.current_event_table('q');

create table orders (id int primary key, note text);
create trigger capture after insert or update or delete on orders for each row
    execute function pgq.logutriga('other', 'ev_extra2=note', 'when=id > 0');
create trigger capture_json after insert on orders for each row
    execute function pgq.jsontriga('other', 'ignore=note');
create trigger capture_sql after insert on orders for each row
    execute function pgq.sqltriga('other');
create trigger capture_truncate after truncate on orders for each statement
    execute function pgq.logutriga('other');
insert into orders select n, 'x' from generate_series(1, 5) n;
update orders set note = 'y';
delete from orders where id = 1;
truncate orders;
-- An event table that takes rows through the executor only.
alter table pgq.event_2_0 add constraint something check (ev_type <> 'never'),
    add constraint more check (ev_id > 0);
insert into orders values (7, 'z');
select pgq.insert_event('other', 't', 'd');
alter table pgq.event_2_0 drop constraint something, drop constraint more, add column surplus int;
select pgq.insert_event('other', 't', 'd');
select pgq.ticker('other');
select pgq.next_batch('other', 'c');
select count(*) from pgq.subscription s, pgq.get_batch_events(s.sub_batch)
    where s.sub_batch is not null;
select pgq.finish_batch(s.sub_batch) from pgq.subscription s where s.sub_batch is not null;
alter table pgq.event_2_0 drop column surplus;

select pgq.ticker('q');
select pgq.ticker();
select pgq.force_tick('q');
select pgq.ticker('q');
select * from pgq.next_batch_info('q', 'c');
select * from pgq.get_batch_events((select sub_batch from pgq.subscription
    where sub_batch is not null));
select * from pgq.get_batch_info((select sub_batch from pgq.subscription
    where sub_batch is not null));
select pgq.batch_event_sql((select sub_batch from pgq.subscription where sub_batch is not null));
select pgq.batch_event_tables((select sub_batch from pgq.subscription where sub_batch is not null));
select pgq.event_retry((select sub_batch from pgq.subscription where sub_batch is not null),
    (select min(ev_id) from pgq.get_batch_events((select sub_batch from pgq.subscription
        where sub_batch is not null))), 0);
select pgq.event_retry((select sub_batch from pgq.subscription where sub_batch is not null),
    (select max(ev_id) from pgq.get_batch_events((select sub_batch from pgq.subscription
        where sub_batch is not null))), now());
select pgq.batch_retry((select sub_batch from pgq.subscription where sub_batch is not null), 0);
begin;
select * from pgq.get_batch_cursor((select sub_batch from pgq.subscription
    where sub_batch is not null), 'a', 2);
fetch all from a;
select * from pgq.get_batch_cursor((select sub_batch from pgq.subscription
    where sub_batch is not null), 'b', 2, $$ev_data <> 'd'$$);
fetch all from b;
commit;
select pgq.finish_batch((select sub_batch from pgq.subscription where sub_batch is not null));
select pgq.event_retry_raw('q', 'c', now(), 1000000, now(), 1, 't', 'd', null, null, null, null);
select pgq.maint_retry_events();
select pgq.insert_event_raw('q', 1000001, now(), null, null, 't', 'd', null, null, null, null);
select pgq.ticker('q');
select * from pgq.next_batch_custom('q', 'c', '0 s', 1, '1 hour');
select pgq.finish_batch(s.sub_batch) from pgq.subscription s where s.sub_batch is not null;
select * from pgq.next_batch_custom('q', 'd', null, 1, null);
select pgq.finish_batch(s.sub_batch) from pgq.subscription s where s.sub_batch is not null;
call pgq.wait_batch('q', 'c', '0');
select pgq.finish_batch(s.sub_batch) from pgq.subscription s where s.sub_batch is not null;
select * from pgq._why_no_batch('q', now());
select * from pgq.find_tick_helper(1, 1, now() - interval '1 hour', 1, 2, null);

select * from pgq.maint_operations();
select pgq.maint_rotate_tables_step1('other');
select pgq.maint_rotate_tables_step2();
select * from pgq.maint_tables_to_vacuum();
select pgq.pause_queue('other');
select pgq.resume_queue('other');
select pgq.grant_perms('q');
select pgq._grant_perms_from('pgq', 'event_template', 'pgq', 'event_1');
select pgq.tune_storage('q');
select pgq.seq_getval('pgq.event_1_id_seq');
select pgq.seq_setval('pgq.event_1_id_seq', 2000000);
select pgq.quote_fqname('a.b');
select pgq.version();
select pgq.upgrade_schema();
select * from pgq.get_queue_info();
select * from pgq.get_queue_info('q');
select * from pgq.get_consumer_info();
select * from pgq.get_consumer_info('q');
select * from pgq.get_consumer_info('q', 'c');
select * from pgq.queue_health();
select * from pgq.metrics();
select * from pgq.worker_status();

-- cooperative consumers
select pgq_coop.register_subconsumer('q', 'crew', 'one');
select pgq_coop.register_subconsumer('q', 'crew', 'two');
select pgq.insert_event('q', 't', 'd');
select pgq.ticker('q');
select pgq.insert_event('q', 't', 'd');
select pgq.ticker('q');
select pgq_coop.next_batch('q', 'crew', 'one');
select pgq_coop.next_batch('q', 'crew', 'two', '1 s');
select pgq_coop.next_batch_custom('q', 'crew', 'two', null, 1, null);
select pgq_coop.next_batch_custom('q', 'crew', 'two', null, null, null, '0 s');
select pgq_coop.finish_batch(s.sub_batch) from pgq.subscription s where s.sub_batch is not null;
update pgq.subscription set sub_active = now() - interval '1 hour';
select pgq_coop.next_batch('q', 'crew', 'one', '1 s');
select pgq_coop.unregister_subconsumer('q', 'crew', 'one', 1);
select pgq_coop.unregister_subconsumer('q', 'crew', 'two', 1);
select pgq_coop.version();

-- positions in a target
select pgq_ext.set_batch_done('c', 1);
select pgq_ext.set_batch_done('c', 's', 1);
select pgq_ext.is_batch_done('c', 1);
select pgq_ext.is_batch_done('c', 's', 1);
select pgq_ext.set_event_done('c', 2, 1);
select pgq_ext.set_event_done('c', 's', 2, 1);
select pgq_ext.is_event_done('c', 2, 1);
select pgq_ext.is_event_done('c', 's', 2, 1);
select pgq_ext.set_last_tick('c', 3);
select pgq_ext.set_last_tick('c', 's', 3);
select pgq_ext.get_last_tick('c');
select pgq_ext.get_last_tick('c', 's');
select pgq_ext.upgrade_schema();
select pgq_ext.version();

-- messages
select pgq.create_queue('mail');
select pgq.create_queue('mail.dead');
select pgq.set_queue_config('mail', 'max_retries', '1');
select pgq.subscribe('mail', 'c', '-infinity');
select pgq.send('mail', 'd');
select pgq.send('mail', '{}'::jsonb);
select pgq.send('mail', 't', 'd', 'k', '{}');
select pgq.send('mail', 't', '{}'::jsonb, 'k', '{"a": 1}');
select pgq.send('mail', 't', 'd', deliver_at => now() + interval '1 hour', unique_key => 'k');
select pgq.send('mail', 't', '{}'::jsonb, deliver_at => now() + interval '1 ms');
select pgq.cancel('mail', dl_id) from pgq.delayed where dl_unique is not null;
select pgq.maint_delayed();
select pgq.maint_empty_buckets();
select pgq.schedule('s', 'mail', 't', 'd', every => '1 second');
select pgq.maint_schedules();
select pgq.unschedule('s');
select pgq.send_batch('mail', 't', array['1', '2', '3'], array['a', 'b', 'c'],
    array['{}', '{}', '{}']::jsonb[]);
select pgq.send_batch('mail', 't', array['{}', '{}']::jsonb[]);
select pgq.force_tick('mail');
select pgq.ticker('mail');
select pgq.nack(m.batch_id, m.msg_id, '0', 'bad') from pgq.receive('mail', 'c', 1) m;
select pgq.nack(m.batch_id, m.msg_id) from pgq.receive('mail', 'c', 2) m;
select pgq.ack(m.batch_id, m.msg_id) from pgq.receive('mail', 'c', 1) m;
select pgq.set_queue_config('mail', 'max_retries', '0');
select pgq.nack(m.batch_id, m.msg_id, reason => 'bad') from pgq.receive('mail', 'c', 1) m;
select pgq.set_queue_config('mail', 'dead_letter_queue', 'mail.dead');
select pgq.nack(m.batch_id, m.msg_id, reason => 'bad') from pgq.receive('mail', 'c', 1) m;
select pgq.ack(max(m.batch_id)) from pgq.receive('mail', 'c') m having count(*) > 0;
select pgq.send('mail', 'd');
select pgq.force_tick('mail');
select pgq.ticker('mail');
select pgq.ack(max(m.batch_id)) from pgq.receive('mail', 'c') m having count(*) > 0;
select * from pgq.dead_letters('mail');
select pgq.dead_replay('mail', 'c', array(select msg_id from pgq.dead_letters('mail')));
call pgq.wait_receive('mail', 'c', '0', 2);
select pgq.set_slots('mail', 'c', 2);
select pgq.send_batch('mail', 't', array['1', '2', '3'], array['a', 'b', 'c']);
select pgq.force_tick('mail');
select pgq.ticker('mail');
select pgq.ack(max(m.batch_id)) from pgq.receive('mail', 'c', 9, 'w') m having count(*) > 0;
call pgq.wait_receive('mail', 'c', '0', 1, 'w', null);
call pgq.wait_receive('mail', 'c', '1 ms', 2, 'v', null);
select * from pgq.slots('mail', 'c');
select pgq.set_slots('mail', 'c', 3);
select pgq.ack(max(m.batch_id)) from pgq.receive('mail', 'c', 9, 'w') m having count(*) > 0;
select pgq.ack(max(m.batch_id)) from pgq.receive('mail', 'c', 9, 'w') m having count(*) > 0;
select * from pgq.seek('mail', 'c', now() + interval '1 hour');
select pgq.set_slots('mail', 'c', 0);
select * from pgq.seek('mail', 'c', 1, true);
select * from pgq.seek('mail', 'c', now() + interval '1 hour');
select pgq.set_queue_config('mail', 'keep', '1 day');
select pgq.dead_purge('mail', 'c', '1 hour');
select pgq.dead_purge('mail', 'c', '0', '{1}');
select pgq.dead_purge('mail', 'c', '0');
select pgq.unsubscribe('mail', 'c', true);
select pgq.drop_queue('mail', true);
select pgq.drop_queue('mail.dead', true);

-- the rest
update pgq.queue set queue_external_ticker = true where queue_name = 'other';
select pgq.ticker('other', 1000, now(), 1000000);
select pgq.rebase();
select pgq.unregister_consumer('q', 'd');
select pgq.drop_queue('other', true);
select pgq.drop_queue('q.dead', true);
select pgq.unregister_consumer('q', 'c');
select pgq.unregister_consumer('q', 'crew');
select pgq.create_queue('gone');
select pgq.drop_queue('gone');
