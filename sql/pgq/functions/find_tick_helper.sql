create or replace function pgq.find_tick_helper(
    in  i_queue_id          int4,
    in  i_prev_tick_id      int8,
    in  i_prev_tick_time    timestamptz,
    in  i_prev_tick_seq     int8,
    in  i_min_count         int8,
    in  i_min_interval      interval,
    out next_tick_id        int8,
    out next_tick_time      timestamptz,
    out next_tick_seq       int8)
returns record
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.find_tick_helper(6)
--      Where a batch ends that shall have a number of events or span a time: at the newest tick,
--      or, when that is more than twice as much as asked for, at the earliest one that is enough.
-- Parameters: queue, tick before the batch with its time and event sequence, least number of
--      events, least time
-- Returns: the tick; NULLs when there is not enough yet
-- Tables: pgq.tick
-- ----------------------------------------------------------------------
declare
    n       int8;
    span    interval;
begin
    select t.tick_id, t.tick_time, t.tick_event_seq
      into next_tick_id, next_tick_time, next_tick_seq
      from pgq.tick t
     where t.tick_queue = i_queue_id
       and t.tick_id > i_prev_tick_id
     order by t.tick_id desc
     limit 1;
    if not found then
        return;
    end if;

    n := next_tick_seq - i_prev_tick_seq;
    span := next_tick_time - i_prev_tick_time;
    if n > i_min_count * 2 or span > i_min_interval * 2 then
        select t.tick_id, t.tick_time, t.tick_event_seq
          into next_tick_id, next_tick_time, next_tick_seq
          from pgq.tick t
         where t.tick_queue = i_queue_id
           and t.tick_id > i_prev_tick_id
           and (t.tick_event_seq - i_prev_tick_seq >= i_min_count
                or t.tick_time - i_prev_tick_time >= i_min_interval)
         order by t.tick_id
         limit 1;
    elsif n >= i_min_count or span >= i_min_interval then
        null;
    else
        next_tick_id := null;
        next_tick_time := null;
        next_tick_seq := null;
    end if;
end;
$$;
comment on function pgq.find_tick_helper(int4, int8, timestamptz, int8, int8, interval) is
    'tick at which a batch of a wanted size ends';
