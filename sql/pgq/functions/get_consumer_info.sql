create or replace function pgq.get_consumer_info(
    in  i_queue_name    text,
    in  i_consumer_name text,
    out queue_name      text,
    out consumer_name   text,
    out lag             interval,
    out last_seen       interval,
    out last_tick       bigint,
    out current_batch   bigint,
    out next_tick       bigint,
    out pending_events  bigint)
returns setof record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.get_consumer_info(2)
--      Where consumers stand, by queue and consumer name. Members of cooperative groups are listed
--      too.
-- Parameters: names; NULL means all
-- Returns:
--      lag             age of the tick that the consumer has finished
--      last_seen       time since it took or finished a batch
--      last_tick       tick that it has finished
--      current_batch   its open batch
--      next_tick       end of that batch
--      pending_events  about how many ticked events wait: a distance of sequence values
-- Tables: pgq.subscription, pgq.consumer, pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
begin
    return query
    select q.queue_name, c.co_name, current_timestamp - t.tick_time,
           current_timestamp - s.sub_active,
           s.sub_last_tick, s.sub_batch, s.sub_next_tick,
           newest.tick_event_seq - t.tick_event_seq
      from pgq.subscription s
      join pgq.queue q on q.queue_id = s.sub_queue
      join pgq.consumer c on c.co_id = s.sub_consumer
      left join pgq.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_last_tick
      left join lateral (
               select n.tick_event_seq
                 from pgq.tick n
                where n.tick_queue = s.sub_queue
                order by n.tick_id desc
                limit 1) newest on true
     where (i_queue_name is null or q.queue_name = i_queue_name)
       and (i_consumer_name is null or c.co_name = i_consumer_name)
     order by 1, 2;
end;
$$;
comment on function pgq.get_consumer_info(text, text) is 'where one consumer of a queue stands';

create or replace function pgq.get_consumer_info(
    in  i_queue_name    text,
    out queue_name      text,
    out consumer_name   text,
    out lag             interval,
    out last_seen       interval,
    out last_tick       bigint,
    out current_batch   bigint,
    out next_tick       bigint,
    out pending_events  bigint)
returns setof record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.get_consumer_info(1)
--      Where the consumers of a queue stand. See pgq.get_consumer_info(2).
-- ----------------------------------------------------------------------
begin
    return query select * from pgq.get_consumer_info(i_queue_name, null);
end;
$$;
comment on function pgq.get_consumer_info(text) is 'where the consumers of a queue stand';

create or replace function pgq.get_consumer_info(
    out queue_name      text,
    out consumer_name   text,
    out lag             interval,
    out last_seen       interval,
    out last_tick       bigint,
    out current_batch   bigint,
    out next_tick       bigint,
    out pending_events  bigint)
returns setof record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.get_consumer_info(0)
--      Where all consumers stand. See pgq.get_consumer_info(2).
-- ----------------------------------------------------------------------
begin
    return query select * from pgq.get_consumer_info(null, null);
end;
$$;
comment on function pgq.get_consumer_info() is 'where all consumers stand';
