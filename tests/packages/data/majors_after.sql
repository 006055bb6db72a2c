-- After pg_upgrade: what is open now, and what each consumer gets.
create table got (consumer text, data text);
create view broken as
select o.consumer, o.events, n.now
  from open_before o
  join lateral (select string_agg(ev_id || ' ' || ev_txid || ' ' || ev_data, ',' order by ev_id)
                  from pgq.get_batch_events(o.batch_id)) n (now) on n.now is distinct from o.events;
create table broken_now as table broken;
drop view broken;
alter table broken_now rename to broken;
insert into broken select 'pgq_ext', '17', pgq_ext.get_last_tick('far')
 where pgq_ext.get_last_tick('far') is distinct from 17;
insert into broken select 'next_batch', o.batch_id::text, b.id::text
  from open_before o, pgq.next_batch('q', 'open') b (id)
 where o.consumer = 'open' and b.id <> o.batch_id;

select pgq.maint_retry_events();
select pgq.force_tick('q');
select pgq.ticker('q');
select read(c, 100, 'got') from unnest(array['open', 'behind', 'current', 'retrying', 'group']) c;
