create or replace function pgq.event_retry(x_batch_id bigint, x_event_id bigint, x_retry_time timestamptz)
returns integer as $$
-- ----------------------------------------------------------------------
-- Function: pgq.event_retry(3)
--      Put an event of a batch aside; its consumer, and no other, gets it again later. In a batch
--      of many ticks the event is first looked for between those two ticks that its id belongs to.
-- Parameters:
--      x_batch_id   - id of the batch
--      x_event_id   - id of the event
--      x_retry_time - when the event comes again, at the earliest
-- Returns: 1 put aside, 0 it is put aside already
-- Errors: 42704 no such batch, or event not in it
-- Tables: pgq.subscription, pgq.tick, pgq.queue, event tables, pgq.retry_queue
-- ----------------------------------------------------------------------
declare
    v_sub   pgq.subscription%rowtype;
    v_prev  bigint;
    v_cur   bigint;
    v_event record;
    v_count integer;
begin
    select * into v_sub from pgq.subscription s where s.sub_batch = x_batch_id;
    if not found then
        raise exception 'batch not found'
            using errcode = '42704',
                  hint = format('Batch %s is finished, or was never handed out by pgq.next_batch().', x_batch_id);
    end if;

    select max(t.tick_id) filter (where t.tick_event_seq < x_event_id and t.tick_id < v_sub.sub_next_tick),
           min(t.tick_id) filter (where t.tick_event_seq >= x_event_id and t.tick_id > v_sub.sub_last_tick)
      into v_prev, v_cur
      from pgq.tick t
     where t.tick_queue = v_sub.sub_queue
       and t.tick_id between v_sub.sub_last_tick and v_sub.sub_next_tick;
    if v_prev < v_cur and (v_prev, v_cur) <> (v_sub.sub_last_tick, v_sub.sub_next_tick) then
        execute pgq._window_sql(v_sub.sub_queue, v_sub.sub_id, v_prev, v_cur, 'e.ev_id = $1') || ' limit 1'
           into v_event
          using x_event_id;
        get diagnostics v_count = row_count;
    end if;
    if v_count is distinct from 1 then
        execute pgq._window_sql(v_sub.sub_queue, v_sub.sub_id, v_sub.sub_last_tick, v_sub.sub_next_tick,
                                'e.ev_id = $1') || ' limit 1'
           into v_event
          using x_event_id;
        get diagnostics v_count = row_count;
    end if;
    if v_count = 0 then
        raise exception 'event not found'
            using errcode = '42704',
                  hint = format('Event %s is not in batch %s, or not for its consumer.', x_event_id, x_batch_id);
    end if;

    insert into pgq.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_txid, ev_owner, ev_retry,
                                 ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    values (x_retry_time, v_sub.sub_queue, v_event.ev_id, v_event.ev_time, null, v_sub.sub_id,
            coalesce(v_event.ev_retry, 0) + 1, v_event.ev_type, v_event.ev_data,
            v_event.ev_extra1, v_event.ev_extra2, v_event.ev_extra3, v_event.ev_extra4)
        on conflict (ev_owner, ev_id) do nothing;
    get diagnostics v_count = row_count;
    return v_count;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off;

comment on function pgq.event_retry(bigint, bigint, timestamptz) is 'have an event of a batch come again at a time';

create or replace function pgq.event_retry(x_batch_id bigint, x_event_id bigint, x_retry_seconds integer)
returns integer as $$
-- ----------------------------------------------------------------------
-- Function: pgq.event_retry(3)
--      Have an event of a batch come again after some seconds. See pgq.event_retry(bigint, bigint,
--      timestamptz).
-- ----------------------------------------------------------------------
begin
    return pgq.event_retry(x_batch_id, x_event_id, current_timestamp + make_interval(secs => x_retry_seconds));
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp set jit = off;

comment on function pgq.event_retry(bigint, bigint, integer) is 'have an event of a batch come again after some seconds';
