create or replace function pgq._tick_before(i_queue_id integer, i_time timestamptz)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._tick_before(2)
--      The last tick of a queue that is not after a time, or the oldest one. Taken under the
--      queue's rotation lock, so that it stays.
-- Locks: the queue's rotation lock (shared)
-- Tables: pgq.tick
-- ----------------------------------------------------------------------
begin
    perform pgq._lock_shared('rotation', i_queue_id);
    return coalesce(max(t.tick_id) filter (where t.tick_time <= i_time), min(t.tick_id))
      from pgq.tick t
     where t.tick_queue = i_queue_id;
end;
$$;
comment on function pgq._tick_before(integer, timestamptz) is
    'the last tick of a queue that is not after a time';

create or replace function pgq.subscribe(
    queue       text,
    consumer    text,
    start_at    timestamptz default null,
    slots       integer default 0)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.subscribe(4)
--      Subscribe a consumer to a queue. One that is subscribed stays as it is.
-- Parameters:
--      queue       name of the queue
--      consumer    name of the consumer, which need not exist yet
--      start_at    NULL: it gets what is committed after the newest tick; a time: what is committed
--                  after the last tick before that time, as far back as the queue has events;
--                  '-infinity': everything that the queue has
--      slots       in how many parts it is read at the same time, by workers that say who they are
--                  (pgq.receive(4)); messages of one key are in one part. 0: by pgq.receive(3).
-- Returns: 1 subscribed, 0 was subscribed already
-- Errors: 22004, 22023, 55000 as pgq.set_slots(3); others as pgq.register_consumer_at(3)
-- Locks: as pgq.register_consumer_at(3)
-- Tables: pgq.queue, pgq.tick, pgq.consumer, pgq.subscription, pgq.slot
-- ----------------------------------------------------------------------
begin
    perform pgq._check_slots(slots);
    -- With that the consumer's row and the rotation lock are held: it is nobody else who registers
    -- it, and ticks stay.
    if pgq.register_consumer(queue, consumer) = 0 then
        return 0;
    end if;
    if start_at is not null then
        perform pgq.register_consumer_at(queue, consumer,
                                         pgq._tick_before(pgq._queue_id(queue), start_at));
    end if;
    if slots > 0 then
        perform pgq.set_slots(queue, consumer, slots);
    end if;
    return 1;
end;
$$;
comment on function pgq.subscribe(text, text, timestamptz, integer) is
    'subscribe a consumer, from a time on: 1 subscribed, 0 was already';

create or replace function pgq.unsubscribe(
    queue       text,
    consumer    text,
    force       boolean default false)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.unsubscribe(3)
--      Remove a consumer from a queue, with what it has put aside. See pgq.unregister_consumer(2).
-- Parameters:
--      queue       name of the queue
--      consumer    name of the consumer
--      force       true: even if it has dead letters, which go with it, and a notice says how many
-- Returns: number of subscriptions removed; 0 if it is not subscribed
-- Errors: 55000 it has dead letters
-- Locks: as pgq.unregister_consumer(2)
-- Tables: pgq.dead_letter, and those of pgq.unregister_consumer(2)
-- ----------------------------------------------------------------------
begin
    return pgq._unregister_consumer(queue, consumer, coalesce(force, false));
end;
$$;
comment on function pgq.unsubscribe(text, text, boolean) is
    'remove a consumer from a queue; returns subscriptions removed';
