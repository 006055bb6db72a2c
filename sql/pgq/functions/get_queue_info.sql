create or replace function pgq.get_queue_info(
    in  i_queue_name                text,
    out queue_name                  text,
    out queue_ntables               integer,
    out queue_cur_table             integer,
    out queue_rotation_period       interval,
    out queue_switch_time           timestamptz,
    out queue_external_ticker       boolean,
    out queue_ticker_paused         boolean,
    out queue_ticker_max_count      integer,
    out queue_ticker_max_lag        interval,
    out queue_ticker_idle_period    interval,
    out ticker_lag                  interval,
    out ev_per_sec                  float8,
    out ev_new                      bigint,
    out last_tick_id                bigint)
returns setof record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.get_queue_info(1)
--      Settings and state of queues, by name.
-- Parameters:
--      i_queue_name    name of the queue; NULL means all
-- Returns: settings, and
--      ticker_lag  age of the newest tick
--      ev_per_sec  events per second over the last 20 ticks
--      ev_new      about how many events wait for a tick: a distance of sequence values
-- Tables: pgq.queue, pgq.tick, event sequences
-- ----------------------------------------------------------------------
begin
    return query
    select q.queue_name, q.queue_ntables, q.queue_cur_table, q.queue_rotation_period,
           q.queue_switch_time, q.queue_external_ticker, q.queue_ticker_paused,
           q.queue_ticker_max_count, q.queue_ticker_max_lag,
           q.queue_ticker_idle_period,
           current_timestamp - t.tick_time,
           case when t.tick_time > o.tick_time
                then (t.tick_event_seq - o.tick_event_seq)
                     / extract(epoch from t.tick_time - o.tick_time)::float8
           end,
           pgq.seq_getval(q.queue_event_seq) - t.tick_event_seq,
           t.tick_id
      from pgq.queue q
      left join lateral (
               select n.tick_id, n.tick_time, n.tick_event_seq
                 from pgq.tick n
                where n.tick_queue = q.queue_id
                order by n.tick_id desc
                limit 1) t on true
      left join lateral (
               select n.tick_time, n.tick_event_seq
                 from pgq.tick n
                where n.tick_queue = q.queue_id
                  and n.tick_id >= t.tick_id - 20
                order by n.tick_id
                limit 1) o on true
     where i_queue_name is null or q.queue_name = i_queue_name
     order by 1;
end;
$$;
comment on function pgq.get_queue_info(text) is 'settings and state of a queue';

create or replace function pgq.get_queue_info(
    out queue_name                  text,
    out queue_ntables               integer,
    out queue_cur_table             integer,
    out queue_rotation_period       interval,
    out queue_switch_time           timestamptz,
    out queue_external_ticker       boolean,
    out queue_ticker_paused         boolean,
    out queue_ticker_max_count      integer,
    out queue_ticker_max_lag        interval,
    out queue_ticker_idle_period    interval,
    out ticker_lag                  interval,
    out ev_per_sec                  float8,
    out ev_new                      bigint,
    out last_tick_id                bigint)
returns setof record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.get_queue_info(0)
--      Settings and state of all queues. See pgq.get_queue_info(1).
-- ----------------------------------------------------------------------
begin
    return query select * from pgq.get_queue_info(null);
end;
$$;
comment on function pgq.get_queue_info() is 'settings and state of all queues';
