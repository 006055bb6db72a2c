-- What is wrong with this database's nodes, and what to do about it.

create or replace function pgq_node.node_health(
    in i_queue_name text default null,
    in i_max_lag    interval default '5 minutes',
    out queue_name  text,
    out node_name   text,
    out node_type   text,
    out severity    text,
    out problem     text,
    out detail      text,
    out hint        text)
returns setof record
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.node_health(2)
--      Problems of the nodes that this database is: a row a problem, or one row with severity "ok".
-- Parameters:
--      i_queue_name    queue, or null for all
--      i_max_lag       what may take this long is in order
-- Returns:
--      severity        ok, warning (it will not get better by itself) or error (the set does not
--                      work)
--      problem         queue missing, half demoted, branch is writable, provider is dead, combined
--                      queue missing, error, paused, unsynchronised, no worker seen, lag, tick
--                      missing, watermark not published, watermark stuck, subscriber silent
--      detail, hint    who or how much; what to do
-- Locks: none
-- Tables: all of pgq_node; pgq.queue, tick, subscription, consumer (read)
-- ----------------------------------------------------------------------
    with problems as (
        select * from pgq_node._state_problems()
         union all
        select * from pgq_node._consumer_problems(i_max_lag)
         union all
        select * from pgq_node._flow_problems(i_max_lag)
    )
    select n.queue_name, n.node_name, n.node_type, coalesce(p.severity, 'ok'), p.problem, p.detail,
           p.hint
      from pgq_node.node_info n
      left join problems p on p.queue_name = n.queue_name
     where i_queue_name is null
        or n.queue_name = i_queue_name
     order by n.queue_name, p.severity, p.problem, p.detail
$$;
comment on function pgq_node.node_health(text, interval) is
    'what is wrong with this database''s nodes, and what to do about it';

create or replace function pgq_node._state_problems(
    out queue_name  text,
    out severity    text,
    out problem     text,
    out detail      text,
    out hint        text)
returns setof record
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node._state_problems(0)
--      Nodes whose parts do not fit together, such as one that was left in the middle of a
--      switchover.
-- Returns: as node_health
-- Locks: none
-- Tables: pgq_node.node_info, node_location, local_state; pgq.queue, tick (read)
-- ----------------------------------------------------------------------
    select n.queue_name, 'error', p.problem, p.detail, p.hint
      from pgq_node.node_info n
      left join pgq.queue q on q.queue_name = n.queue_name
      left join pgq_node.local_state s
        on s.queue_name = n.queue_name and s.consumer_name = n.worker_name
      left join pgq_node.node_location l
        on l.queue_name = s.queue_name and l.node_name = s.provider_node
      cross join lateral (
                select max(t.tick_id) as tick_id from pgq.tick t where t.tick_queue = q.queue_id
            ) top
      cross join lateral (values
            (n.node_type <> 'leaf' and q.queue_id is null,
             'queue missing',
             format('a %s has a queue, and there is no queue "%s"', n.node_type, n.queue_name),
             'If it was dropped by mistake, restore it from a backup. Else the node has nothing '
             'left to keep: pgq_node.drop_node(), and'
             ' create it again from its provider.'),
            (n.node_type = 'root' and (q.queue_disable_insert or q.queue_external_ticker),
             'half demoted',
             'the queue takes no events or ticks, but the node is still the root',
             'Go on with the switchover: promote the new root if that is not done, then '
             'pgq_node.demote_root(queue, 3, new root).'
             ' If no other node has been promoted, pgq_node.cancel_demote(queue) undoes it.'),
            (n.node_type = 'branch' and not (q.queue_disable_insert and q.queue_external_ticker),
             'branch is writable',
             'the queue of a branch takes events or ticks of its own, which its subscribers get '
             'and the rest of the set does not',
             'Set queue_disable_insert and queue_external_ticker in pgq.queue. If events came in '
             'meanwhile, save them before you'
             ' create the node again: nobody else has them.'),
            (n.node_type <> 'root' and l.dead,
             'provider is dead',
             format('the node reads from "%s", which is tagged dead', s.provider_node),
             'Subscribe the node to a live one and use pgq_node.change_consumer_provider().'),
            (n.combined_queue is not null
                 and not exists (
                         select 1 from pgq_node.node_info c where c.queue_name = n.combined_queue),
             'combined queue missing',
             format('events are to be merged into queue "%s", which is no node here',
                    n.combined_queue),
             'Create that node: what this one reads has no place to go until then.'),
            (n.node_type = 'branch' and s.last_tick_id > top.tick_id,
             'tick missing',
             format('the worker has applied tick %s, and the queue ends with tick %s',
                    s.last_tick_id, top.tick_id),
             'The worker lays the tick when it runs again; pgq_node.promote_branch() does too.')
        ) as p (is_so, problem, detail, hint)
     where p.is_so
$$;
comment on function pgq_node._state_problems() is 'internal: nodes whose parts do not fit together';

create or replace function pgq_node._consumer_problems(
    in i_max_lag    interval,
    out queue_name  text,
    out severity    text,
    out problem     text,
    out detail      text,
    out hint        text)
returns setof record
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node._consumer_problems(1)
--      Consumers of this database's nodes that do not work.
-- Parameters:
--      i_max_lag   silence that is in order
-- Returns: as node_health
-- Locks: none
-- Tables: pgq_node.node_info, local_state, consumer_seen (read)
-- ----------------------------------------------------------------------
    select s.queue_name, p.severity, p.problem, p.detail, p.hint
      from pgq_node.local_state s
      join pgq_node.node_info n on n.queue_name = s.queue_name
      left join pgq_node.consumer_seen c
        on c.queue_name = s.queue_name and c.consumer_name = s.consumer_name
      cross join lateral (values
            (s.cur_error is not null,
             'error',
             'error',
             format('consumer "%s": %s', s.consumer_name, s.cur_error),
             'It tries again by itself; correct the cause.'),
            (s.paused,
             'warning',
             'paused',
             format('consumer "%s" is paused', s.consumer_name),
             format('Resume it with pgq_node.set_consumer_paused(%L, %L, false).', s.queue_name,
                    s.consumer_name)),
            -- A root works without a worker, as long as something calls the maintenance.
            (not s.uptodate and not (n.node_type = 'root' and s.consumer_name = n.worker_name),
             'warning',
             'unsynchronised',
             format('consumer "%s" has not confirmed the latest change to its state',
                    s.consumer_name),
             'Start it, or wait for it to end its present batch.'),
            (not s.paused and not (n.node_type = 'root' and s.consumer_name = n.worker_name)
                 and coalesce(c.seen < current_timestamp - i_max_lag, true),
             'error',
             'no worker seen',
             case
                 when c.seen is null
                     then format('consumer "%s" has never reported', s.consumer_name)
                 else format('consumer "%s" reported last %s ago', s.consumer_name,
                             date_trunc('second', current_timestamp - c.seen))
             end,
             'Start it and look into its log.')
        ) as p (is_so, severity, problem, detail, hint)
     where p.is_so
$$;
comment on function pgq_node._consumer_problems(interval) is
    'internal: consumers of this database''s nodes that do not work';

create or replace function pgq_node._flow_problems(
    in i_max_lag    interval,
    out queue_name  text,
    out severity    text,
    out problem     text,
    out detail      text,
    out hint        text)
returns setof record
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node._flow_problems(1)
--      Ticks, watermarks and subscribers of this database's nodes that do not move.
-- Parameters:
--      i_max_lag   standstill that is in order
-- Returns: as node_health
-- Locks: none
-- Tables: pgq_node.node_info, subscriber_info; pgq.queue, tick, subscription, consumer (read)
-- ----------------------------------------------------------------------
    with nodes as (
        select n.queue_name, n.node_type, q.queue_id, top.tick_time as top_time,
               w.sub_last_tick as watermark, w.sub_active as published,
               t.tick_time as watermark_time,
               greatest(i_max_lag, 2 * q.queue_ticker_idle_period) as max_lag
          from pgq_node.node_info n
          join pgq.queue q on q.queue_name = n.queue_name
          left join pgq.consumer c on c.co_name = '.global_watermark'
          left join pgq.subscription w on w.sub_queue = q.queue_id and w.sub_consumer = c.co_id
          left join pgq.tick t on t.tick_queue = q.queue_id and t.tick_id = w.sub_last_tick
          cross join lateral (
                select t.tick_time
                  from pgq.tick t
                 where t.tick_queue = q.queue_id
                 order by t.tick_id desc
                 limit 1) top
         where n.node_type <> 'leaf'
    ), readers as (
        select n.queue_name, c.co_name, s.sub_last_tick, s.sub_active,
               row_number() over (
                   partition by n.queue_name order by s.sub_last_tick, c.co_name) as place
          from nodes n
          join pgq.subscription s on s.sub_queue = n.queue_id
          join pgq.consumer c on c.co_id = s.sub_consumer
         where c.co_name <> '.global_watermark'
           and s.sub_last_tick is not null
    )
    select n.queue_name, 'error', 'lag',
           format('the newest tick is %s old',
                  date_trunc('second', current_timestamp - n.top_time)),
           case n.node_type
               when 'root' then 'Start the ticker (pgq worker or pgqd), or unpause the queue.'
               else 'See that the worker runs, and look at the provider''s node_health().'
           end
      from nodes n
     where n.top_time < current_timestamp - n.max_lag
     union all
    select n.queue_name, 'warning', 'watermark not published',
           format('the global watermark was published last %s ago',
                  date_trunc('second', current_timestamp - n.published)),
           'See that maintenance (pgq worker or pgqd) or the root''s worker runs.'
      from nodes n
     where n.node_type = 'root'
       and n.published < current_timestamp - 3 * n.max_lag
     union all
    select n.queue_name, 'warning', 'watermark stuck',
           format('every node keeps events since tick %s, which is %s old%s', n.watermark,
                  date_trunc('second', current_timestamp - n.watermark_time),
                  case
                      when r.co_name is not null
                      then format('; here "%s" needs them from tick %s on', r.co_name,
                                  r.sub_last_tick)
                  end),
           'See that this consumer runs. ".NODE.watermark" stands for node NODE and those below: '
           'look at its node_health(). Only'
           ' what is gone for good may be unregistered: it loses all that it has not read.'
      from nodes n
      left join readers r on r.queue_name = n.queue_name and r.place = 1
     where n.watermark_time < current_timestamp - 3 * n.max_lag
     union all
    select s.queue_name, 'warning', 'subscriber silent',
           format('worker "%s" of node "%s" was seen last %s ago', s.worker_name, s.subscriber_node,
                  date_trunc('second', current_timestamp - r.sub_active)),
           'See that it runs. Until it does, events it has not read are kept here.'
      from nodes n
      join pgq_node.subscriber_info s on s.queue_name = n.queue_name
      join readers r on r.queue_name = s.queue_name and r.co_name = s.worker_name
     where r.sub_active < current_timestamp - n.max_lag
$$;
comment on function pgq_node._flow_problems(interval) is
    'internal: ticks, watermarks and subscribers of this database''s nodes that do not move';
