-- While another transaction is open: the last tick, batches that are finished and that stay open.
select pgq.insert_event('q', 'k', i::text) from generate_series(81, 120) i;
select pgq.force_tick('q');
select pgq.ticker('q');
insert into captured values (0);
-- Not covered by a tick.
select pgq.insert_event('q', 'k', i::text) from generate_series(121, 140) i;

select read('current', 100, 'read_before');
select read('open', 1, 'read_before');
select read('group', 1, 'read_before');
insert into open_before select 'open', b, events(b) from pgq.next_batch('q', 'open') b;
insert into open_before select 'group', b, events(b) from pgq_coop.next_batch('q', 'group', 'm1') b;
-- Some events of the first batch are to come again.
select pgq.next_batch('q', 'retrying') as batch \gset
insert into read_before select 'retrying', ev_data from pgq.get_batch_events(:batch)
 where ev_data not like '%7';
select pgq.event_retry(:batch, ev_id, 0) from pgq.get_batch_events(:batch)
 where ev_data like '%7';
select pgq.finish_batch(:batch);
select pgq_ext.set_last_tick('far', 17);

insert into expected
select c, i::text from unnest(array['open', 'behind', 'current', 'retrying', 'group']) c,
       generate_series(1, 142) i
except select consumer, data from read_before;
