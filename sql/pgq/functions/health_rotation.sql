create or replace function pgq._health_rotation(
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
-- Function: pgq._health_rotation(0)
--      Findings about queues whose event tables do not rotate, and who holds them back: a consumer
--      that needs the previous table; a transaction, open or prepared, that is older than the last
--      switch and so keeps the positions of consumers that are up to date from passing it; setting
--      keep; a lock on the table to be emptied; or nobody, if no maintenance runs.
-- ----------------------------------------------------------------------
    with late as materialized (
        select q.*, q.queue_switch_time + p.period as due
          from pgq.queue q
         cross join lateral pgq._rotation_period(q.queue_id, q.queue_rotation_period) p (period)
         where q.queue_ntables > 1
           and now() - greatest(q.queue_switch_time + p.period, pg_postmaster_start_time())
               > least(q.queue_rotation_period, interval '5 minutes')
           and not pg_is_in_recovery()
    ), holding as materialized (
        -- Consumers whose tick does not see the last switch. Those that stand at the newest tick
        -- are not to blame: either a transaction keeps that tick from seeing the switch, or there
        -- is no younger one, which other findings tell.
        select l.queue_id, c.co_name,
               -- A slot goes with its consumer.
               case when c.co_id < 0 then regexp_replace(c.co_name, '#[0-9]+$', '')
                    else c.co_name end as consumer,
               t.tick_time, txid_snapshot_xmin(t.tick_snapshot) as xmin,
               t.tick_time > l.queue_switch_time as is_past_switch,
               exists (
                   select 1
                     from pgq.tick n
                    where n.tick_queue = s.sub_queue
                      and n.tick_id > s.sub_last_tick) as is_behind,
               -- Its purpose is to keep letters.
               c.co_name = 'dead_letters' as is_keeper
          from late l
          join pgq.subscription s on s.sub_queue = l.queue_id
          join pgq.consumer c on c.co_id = s.sub_consumer
          join pgq.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_last_tick
         where txid_snapshot_xmin(t.tick_snapshot) <= l.queue_switch_step2
    ), keeping as materialized (
        -- Where the history begins that is to be kept, as pgq.maint_rotate_tables_step1() has it.
        select l.queue_id, o.opt_keep as keep
          from late l
          join pgq.queue_option o on o.opt_queue = l.queue_id
         cross join lateral (select coalesce(max(t.tick_id)
                                                 filter (where t.tick_time <= now() - o.opt_keep),
                                             min(t.tick_id))
                               from pgq.tick t
                              where t.tick_queue = l.queue_id) h (tick_id)
          join pgq.tick t on t.tick_queue = l.queue_id and t.tick_id = h.tick_id
         where o.opt_keep > '0'
           and txid_snapshot_xmin(t.tick_snapshot) <= l.queue_switch_step2
    ), transaction as materialized (
        select a.backend_xid::text as xid,
               format('process %s (transaction %s, open for %s, %s)', a.pid, a.backend_xid,
                      date_trunc('second', now() - a.xact_start), a.state) as holder,
               format('Have it end. As a last resort select pg_terminate_backend(%s), which rolls '
                      'its work back.', a.pid) as remedy
          from pg_stat_activity a
         where a.backend_xid is not null
        union all
        select p.transaction::text,
               format('prepared transaction %L of database "%s" (transaction %s, prepared %s ago)',
                      p.gid, p.database,
                      p.transaction, date_trunc('second', now() - p.prepared)),
               format('Ask who prepared it how it is to end: commit prepared %L, or rollback '
                      'prepared, which loses its work.', p.gid)
          from pg_prepared_xacts p
    ), locked as materialized (
        select l.queue_id, string_agg(distinct k.pid::text, ', ') as pids
          from late l
          join pg_locks k
            on k.relation = to_regclass(l.queue_data_pfx || '_'
                                        || (l.queue_cur_table + 1) % l.queue_ntables)
           and k.granted
           and k.pid is not null
         group by l.queue_id
    )
    select l.queue_name, 'warning', 'rotation_held_by_consumer',
           format('consumer "%s" still needs the previous event table; its position is of %s',
                  h.co_name,
                  date_trunc('second', h.tick_time)),
           l.due,
           format('Start it. Only if nobody wants its events any more: '
                  'pgq.unregister_consumer(%L, %L) gives up all that it has not read.',
                  l.queue_name, h.consumer)
      from late l
      join holding h using (queue_id)
     where h.is_behind
       and not h.is_past_switch
       and not h.is_keeper
    union all
    select distinct l.queue_name, 'warning', 'rotation_held_by_transaction',
           coalesce(t.holder, format('transaction %s', h.xmin))
               || ' was open when the event tables were switched last; until it ends they cannot '
                  'be switched again',
           l.due,
           coalesce(t.remedy, 'It has ended in the meantime: consumers have to get past it.')
      from late l
      join holding h using (queue_id)
      left join transaction t on t.xid = (h.xmin & 4294967295)::text
     where h.is_past_switch
       and not h.is_keeper
    union all
    select l.queue_name, 'warning', 'rotation_held_by_lock',
           format('the event table that comes next is locked by process %s', k.pids),
           l.due, 'See what these processes do; a pg_dump is often the reason.'
      from late l
      join locked k using (queue_id)
     where not exists (select 1 from holding h where h.queue_id = l.queue_id)
    union all
    select l.queue_name, 'info', 'rotation_held_by_keep',
           format('its previous event table still has events of the last %s, which it is to keep',
                  k.keep),
           l.due,
           format('Nothing, if there is room. Else keep less: pgq.set_queue_config(%L, ''keep'', '
                  '...).', l.queue_name)
      from late l
      join keeping k using (queue_id)
     where not exists (select 1 from holding h where h.queue_id = l.queue_id)
    union all
    select l.queue_name, 'warning', 'rotation_late',
           case
               when l.queue_switch_step2 is null
                   then 'the event tables were switched, but step 2 did not follow'
               else 'the event tables could be switched, and nobody does'
           end,
           l.due, 'Something has to run pgq.maint_operations(): the worker or pgqd.'
      from late l
     where not exists (select 1 from holding h where h.queue_id = l.queue_id)
       and not exists (select 1 from keeping k where k.queue_id = l.queue_id)
       and not exists (select 1 from locked k where k.queue_id = l.queue_id)
$$;
comment on function pgq._health_rotation() is 'findings about event tables that do not rotate';
