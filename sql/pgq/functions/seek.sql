create or replace function pgq.seek(
    queue       text,
    consumer    text,
    to_tick     bigint,
    dry_run     boolean default false)
returns pgq.seek_result
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.seek(4)
--      Move a consumer to a tick, forward or back as far as events are kept; see setting "keep".
--      Its open batch is given up, and who holds messages of it can no longer acknowledge them.
--      Messages that it has put aside come again all the same.
-- Parameters:
--      queue       name of the queue
--      consumer    name of the consumer
--      to_tick     the tick: what is committed after it comes next
--      dry_run     true: only say what would be
-- Returns: tick where it stood and tick where it stands, and about how many events lie between:
--      they come again, or do not come
-- Errors: 22004 NULL tick; 42704 no such queue or tick, or the consumer is not subscribed
-- Locks: the queue's rotation lock (shared), then the rows of consumer and subscription
-- Tables: pgq.queue, pgq.tick, pgq.consumer, pgq.subscription
-- ----------------------------------------------------------------------
declare
    result  pgq.seek_result;
    id      integer := pgq._queue_id(queue);
    sub     pgq.subscription;
begin
    if to_tick is null then
        raise exception 'the tick to seek must not be NULL'
            using errcode = '22004',
                  hint = 'pgq.get_consumer_info() shows where a consumer stands.';
    end if;
    -- Ticks stay from here on.
    perform pgq._lock_shared('rotation', id);
    perform 1 from pgq.consumer c where c.co_name = consumer for no key update;
    select s.*
      into sub
      from pgq.subscription s
     where s.sub_queue = id
       and s.sub_consumer = (select c.co_id from pgq.consumer c where c.co_name = consumer)
       for update;
    if not found then
        raise exception 'Not subscriber to queue: %/%', queue, coalesce(consumer, 'NULL')
            using errcode = '42704',
                  hint = 'pgq.subscribe(queue, consumer, start_at) begins at a time.';
    end if;
    if not exists (select 1
                     from pgq.tick t
                    where t.tick_queue = id
                      and t.tick_id = to_tick) then
        raise exception 'cannot reposition, tick not found: %', to_tick
            using errcode = '42704',
                  hint = (select format('Queue "%s" has ticks %s to %s.', queue, min(t.tick_id),
                                        max(t.tick_id))
                            from pgq.tick t
                           where t.tick_queue = id);
    end if;

    -- Slots stand where the last of them stands.
    result.from_tick := coalesce(sub.sub_last_tick,
                                 (select min(s.sub_last_tick)
                                    from pgq.subscription s
                                   where s.sub_queue = id
                                     and s.sub_consumer in (
                                             select l.slot_member
                                               from pgq.slot l
                                              where l.slot_queue = id
                                                and l.slot_consumer = sub.sub_consumer)));
    result.to_tick := to_tick;
    select abs(b.tick_event_seq - a.tick_event_seq)
      into result.events
      from pgq.tick a, pgq.tick b
     where a.tick_queue = id
       and a.tick_id = result.from_tick
       and b.tick_queue = id
       and b.tick_id = to_tick;
    if not coalesce(dry_run, false) then
        perform pgq.register_consumer_at(queue, consumer, to_tick);
    end if;
    return result;
end;
$$;
comment on function pgq.seek(text, text, bigint, boolean) is
    'move a consumer to a tick, or say what that would do';

create or replace function pgq.seek(
    queue       text,
    consumer    text,
    to_time     timestamptz,
    dry_run     boolean default false)
returns pgq.seek_result
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.seek(4)
--      Move a consumer to a time: to the last tick before it, or the oldest one. See pgq.seek(text,
--      text, bigint, boolean).
-- Parameters:
--      to_time     the time: what was committed after that comes next, and perhaps a little before
-- ----------------------------------------------------------------------
begin
    if to_time is null then
        raise exception 'the time to seek must not be NULL'
            using errcode = '22004',
                  hint = '''-infinity'' is the oldest event that is kept.';
    end if;
    return pgq.seek(queue, consumer, pgq._tick_before(pgq._queue_id(queue), to_time), dry_run);
end;
$$;
comment on function pgq.seek(text, text, timestamptz, boolean) is
    'move a consumer to a time, or say what that would do';
