create or replace function pgq._health_storage(
    out queue_name  text,
    out severity    text,
    out code        text,
    out finding     text,
    out since       timestamptz,
    out remedy      text)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._health_storage(0)
--      Findings about tables and sequences: missing or changed, too large, or bound to be, near
--      their end, full of dead rows.
-- ----------------------------------------------------------------------
    with limits as materialized (
        select pg_size_bytes(coalesce(current_setting('pgq.health_table_size', true),
                                      '10GB')) as bytes
    ), event_table as materialized (
        select q.queue_name, t.name, to_regclass(t.name) as oid
          from pgq.queue q,
               lateral (
                   select q.queue_data_pfx || '_' || n as name
                     from generate_series(0, q.queue_ntables - 1) n) t
    ), queue_size as materialized (
        select e.queue_name, sum(pg_total_relation_size(e.oid)) as bytes
          from event_table e
         group by e.queue_name
    ), kept as materialized (
        select q.queue_name, o.opt_keep as keep, now() - min(t.tick_time) as age
          from pgq.queue q
          join pgq.queue_option o on o.opt_queue = q.queue_id
          join pgq.tick t on t.tick_queue = q.queue_id
         where o.opt_keep > '0'
         group by q.queue_name, o.opt_keep
    ), sequence as materialized (
        select q.queue_name, s.name, to_regclass(s.name) as oid
          from pgq.queue q, lateral (values (q.queue_event_seq), (q.queue_tick_seq)) s (name)
        union all
        select null, s.name, to_regclass(s.name)
          from (values ('pgq.batch_id_seq'), ('pgq.queue_queue_id_seq'), ('pgq.consumer_co_id_seq'),
                       ('pgq.subscription_sub_id_seq')) s (name)
    )
    select e.queue_name, 'critical', 'table_missing',
           format('event table %s does not exist', e.name), null::timestamptz,
           'Create it anew as pgq.create_queue() does; the events in it are lost unless a backup '
           'has them.'
      from event_table e
     where e.oid is null
    union all
    select e.queue_name, 'critical', 'table_changed',
           format('event table %s lacks column %s', e.name,
                  string_agg(a.attname, ', ' order by a.attnum)), null,
           'Put the column back: alter table ... inherit pgq.event_<id> wants all of them.'
      from event_table e
      join pg_attribute a
        on a.attrelid = 'pgq.event_template'::regclass and a.attnum > 0 and not a.attisdropped
     where e.oid is not null
       and not exists (
               select 1
                 from pg_attribute b
                where b.attrelid = e.oid
                  and b.attname = a.attname
                  and b.atttypid = a.atttypid)
     group by e.queue_name, e.name
    union all
    select e.queue_name, 'warning', 'index_missing',
           format('event table %s has no index that begins with ev_txid', e.name), null,
           format('create index on %s (ev_txid);', e.name)
      from event_table e
     where e.oid is not null
       and not exists (
               select 1
                 from pg_index i
                 join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
                where i.indrelid = e.oid
                  and i.indisvalid
                  and i.indpred is null
                  and a.attname = 'ev_txid')
    union all
    select z.queue_name, 'warning', 'tables_large',
           format('its event tables take %s', pg_size_pretty(z.bytes)), null,
           case
               when k.keep > '0'
                   then format('Keep less: pgq.set_queue_config(%L, ''keep'', ...), which is %s '
                               'now; or see what holds back the rotation.', z.queue_name, k.keep)
               else 'Rotate more often (rotation_period), or see what holds back the rotation.'
           end
      from queue_size z
     cross join limits
      left join kept k using (queue_name)
     where z.bytes > limits.bytes
    union all
    select k.queue_name, 'warning', 'keep_large',
           format('it is to keep events for %s, and will need about %s for that', k.keep,
                  pg_size_pretty(e.bytes)), null,
           format('See that the disk has room, and set pgq.health_table_size to what is right; or '
                  'keep less: pgq.set_queue_config(%L, ''keep'', ...).', k.queue_name)
      from kept k
      join queue_size z using (queue_name)
     cross join limits
      -- Each of three tables has as much as is kept, at the speed with which they have grown.
     cross join lateral (select (z.bytes / extract(epoch from k.age)
                                 * 3 * extract(epoch from k.keep))::numeric) e (bytes)
     where k.age >= least(interval '1 hour', k.keep)
       and z.bytes <= limits.bytes
       and e.bytes > limits.bytes
    union all
    select s.queue_name, 'critical', 'sequence_missing',
           format('sequence %s does not exist', s.name), null,
           'Create it, with a value above all that were given out.'
      from sequence s
     where s.oid is null
    union all
    select s.queue_name, 'warning', 'sequence_near_end',
           format('sequence %s is at %s of %s', s.name, pgq._last_value(s.oid), d.seqmax), null,
           'Plan a new queue, or a new numbering, before it ends.'
      from sequence s
      join pg_sequence d on d.seqrelid = s.oid
     where pgq._last_value(s.oid) > d.seqmax / 10 * 9
    union all
    select null, 'warning', 'dead_rows',
           format('%s has %s dead rows besides %s live ones', c.oid::regclass,
                  pg_stat_get_dead_tuples(c.oid), pg_stat_get_live_tuples(c.oid)),
           null, 'A long transaction, a prepared one or a replication slot may keep VACUUM from '
                 'removing them.'
      from pg_class c
     where c.oid in ('pgq.tick'::regclass, 'pgq.subscription'::regclass, 'pgq.queue'::regclass,
                     'pgq.retry_queue'::regclass)
       and pg_stat_get_dead_tuples(c.oid) > 100000 + 2 * pg_stat_get_live_tuples(c.oid)
$$;
comment on function pgq._health_storage() is 'findings about tables and sequences';
