create or replace function pgq.event_retry(
    x_batch_id      bigint,
    x_event_id      bigint,
    x_retry_time    timestamptz)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.event_retry(3)
--      Put an event of a batch aside; its consumer, and no other, gets it again later. In a batch
--      of many ticks the event is first looked for between those two ticks that its id belongs to.
-- Parameters:
--      x_batch_id      id of the batch
--      x_event_id      id of the event
--      x_retry_time    when the event comes again, at the earliest
-- Returns: 1 put aside, 0 it is put aside already
-- Errors: 42704 no such batch, or event not in it
-- Tables: pgq.subscription, pgq.tick, pgq.queue, event tables, pgq.retry_queue
-- ----------------------------------------------------------------------
declare
    sub     pgq.subscription;
    prev    bigint;
    cur     bigint;
    event   record;
    n       integer;
begin
    select *
      into sub
      from pgq.subscription s
     where s.sub_batch = x_batch_id
       and s.sub_consumer > 0; -- of a slot's batch not all events are its own
    if not found then
        -- Of pgq.receive(3) it is a page's.
        select * into sub from pgq._batch_of_page(x_batch_id);
    end if;
    if not found then
        raise exception 'batch not found'
            using errcode = '42704',
                  hint = format('Batch %s is finished, or was never handed out by '
                                'pgq.next_batch().', x_batch_id);
    end if;

    select max(t.tick_id) filter (where t.tick_event_seq < x_event_id
                                  and t.tick_id < sub.sub_next_tick),
           min(t.tick_id) filter (where t.tick_event_seq >= x_event_id
                                  and t.tick_id > sub.sub_last_tick)
      into prev, cur
      from pgq.tick t
     where t.tick_queue = sub.sub_queue
       and t.tick_id between sub.sub_last_tick and sub.sub_next_tick;
    if prev < cur and (prev, cur) <> (sub.sub_last_tick, sub.sub_next_tick) then
        execute pgq._window_sql(sub.sub_queue, sub.sub_id, prev, cur, 'e.ev_id = $1') || ' limit 1'
           into event
          using x_event_id;
        get diagnostics n = row_count;
    end if;
    if n is distinct from 1 then
        execute pgq._window_sql(sub.sub_queue, sub.sub_id, sub.sub_last_tick, sub.sub_next_tick,
                                'e.ev_id = $1') || ' limit 1'
           into event
          using x_event_id;
        get diagnostics n = row_count;
    end if;
    if n = 0 then
        raise exception 'event not found'
            using errcode = '42704',
                  hint = format('Event %s is not in batch %s, or not for its consumer.', x_event_id,
                                x_batch_id);
    end if;

    insert into pgq.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_txid, ev_owner,
                                 ev_retry,
                                 ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    values (x_retry_time, sub.sub_queue, event.ev_id, event.ev_time, null, sub.sub_id,
            coalesce(event.ev_retry, 0) + 1, event.ev_type, event.ev_data,
            event.ev_extra1, event.ev_extra2, event.ev_extra3, event.ev_extra4)
        on conflict (ev_owner, ev_id) do nothing;
    get diagnostics n = row_count;
    return n;
end;
$$;
comment on function pgq.event_retry(bigint, bigint, timestamptz) is
    'have an event of a batch come again at a time';

create or replace function pgq.event_retry(
    x_batch_id      bigint,
    x_event_id      bigint,
    x_retry_seconds integer)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.event_retry(3)
--      Have an event of a batch come again after some seconds. See pgq.event_retry(bigint, bigint,
--      timestamptz).
-- ----------------------------------------------------------------------
begin
    return pgq.event_retry(x_batch_id, x_event_id,
                           current_timestamp + make_interval(secs => x_retry_seconds));
end;
$$;
comment on function pgq.event_retry(bigint, bigint, integer) is
    'have an event of a batch come again after some seconds';
