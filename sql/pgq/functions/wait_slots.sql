create or replace procedure pgq._wait_tick(
    i_queue_name    text,
    i_since         bigint,
    i_timeout       interval,
    i_tell          boolean)
language c
-- ----------------------------------------------------------------------
-- Procedure: pgq._wait_tick(4)
--      Wait for the next tick of a queue, or another wake-up of those who wait for it, without
--      transaction, snapshot or lock.
-- Parameters:
--      i_queue_name    name of the queue
--      i_since         a tick after this one; NULL: wait for the time alone
--      i_timeout       how long
--      i_tell          true: say why there is none, if that is known
-- Errors: 25001 in a transaction block or function; 22004 NULL queue or time
-- Tables: pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_wait_tick';
comment on procedure pgq._wait_tick(text, bigint, interval, boolean) is
    'wait for the next tick of a queue';

create or replace function pgq._newest_tick(i_queue text)
returns bigint
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._newest_tick(1)
--      The newest tick of a queue; 0 if there is none.
-- Tables: pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
    select coalesce(max(t.tick_id), 0)
      from pgq.tick t
     where t.tick_queue = (select q.queue_id from pgq.queue q where q.queue_name = i_queue)
$$;
comment on function pgq._newest_tick(text) is 'the newest tick of a queue';

create or replace function pgq._slot_pause(
    in  i_queue     text,
    in  i_consumer  text,
    in  i_worker    text,
    out pause       interval,
    out has_slots   boolean)
returns record
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._slot_pause(3)
--      How long a worker may wait until it renews its lease and looks for slots that have become
--      free, which is not long where others still have some that it is due; and whether ticks
--      concern it.
-- Tables: pgq.queue, pgq.queue_option, pgq.consumer, pgq.slot, pgq.slot_worker
-- ----------------------------------------------------------------------
    select case
               when has < slots / workers then interval '0.3 seconds'
               else (pgq._queue_option(n.queue_id)).opt_slot_lease / 3
           end,
           has > 0
      from (select q.queue_id, s.slots, s.has,
                   (select greatest(count(*), 1)
                      from pgq.slot_worker w
                     where w.worker_queue = q.queue_id
                       and w.worker_consumer = c.co_id
                       and w.worker_until > clock_timestamp()) as workers
              from pgq.queue q
              join pgq.consumer c on c.co_name = i_consumer
             cross join lateral (
                       select count(*) as slots,
                              count(*) filter (where l.slot_worker = i_worker) as has
                         from pgq.slot l
                        where l.slot_queue = q.queue_id
                          and l.slot_consumer = c.co_id) s
             where q.queue_name = i_queue) n
$$;
comment on function pgq._slot_pause(text, text, text) is 'how long a worker may wait';

create or replace function pgq._receive_slots(
    i_queue         text,
    i_consumer      text,
    i_max_return    integer,
    i_worker        text)
returns pgq.message[]
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._receive_slots(4)
--      What pgq.receive(4) gives, as an array.
-- ----------------------------------------------------------------------
begin
    return array(select m from pgq.receive(i_queue, i_consumer, i_max_return, i_worker) m);
end;
$$;
comment on function pgq._receive_slots(text, text, integer, text) is
    'the next messages of a worker, as an array';

create or replace procedure pgq.wait_receive(
    in    queue         text,
    in    consumer      text,
    in    timeout       interval,
    in    max_return    integer,
    in    worker        text,
    inout messages      pgq.message[])
language plpgsql
as $$
-- ----------------------------------------------------------------------
-- Procedure: pgq.wait_receive(6)
--      Wait for messages of a worker's slots, and receive them: as pgq.wait_receive(5) and
--      pgq.receive(4). A worker that waits renews its lease; one that has no slots, as there are
--      more workers than slots, looks again when a third of a lease is over.
-- Parameters:
--      queue       name of the queue
--      consumer    name of the consumer
--      timeout     how long to wait; 0: look once; NULL: no limit
--      max_return  how many messages at most
--      worker      name of the worker
--      messages    in: anything
-- Returns: the messages, to be acknowledged by pgq.ack(); none when the time is over
-- Errors: 22004 NULL queue; 22023 negative time; 25001 in a transaction block or function; those of
--      pgq.receive(4)
-- Locks, Tables: as pgq.receive(4), when messages are there
-- ----------------------------------------------------------------------
declare
    begun       pg_catalog.timestamptz := pg_catalog.clock_timestamp();
    left_over   interval := timeout;
    is_first    boolean := true;
    newest      bigint;
    rest        record;
begin
    -- Procedures that end transactions have no settings of their own: everything is qualified.
    if timeout operator(pg_catalog.<) '0'::pg_catalog.interval then
        raise exception 'timeout must not be negative'
            using errcode = '22023',
                  hint = 'Zero looks once; NULL waits without limit.';
    end if;
    -- Refused where it could not wait, also if it need not.
    call pgq._wait_tick(queue, null, '0'::pg_catalog.interval, false);
    loop
        newest := pgq._newest_tick(queue);
        messages := pgq._receive_slots(queue, consumer, max_return, worker);
        exit when pg_catalog.cardinality(messages) operator(pg_catalog.>) 0;
        left_over := timeout operator(pg_catalog.-)
                     (pg_catalog.clock_timestamp() operator(pg_catalog.-) begun);
        exit when left_over operator(pg_catalog.<=) '0'::pg_catalog.interval;
        -- By assignment, not by a query, which might be compiled.
        rest := pgq._slot_pause(queue, consumer, worker);
        call pgq._wait_tick(queue, case when rest.has_slots then newest end,
                            least(left_over, rest.pause), is_first);
        is_first := false;
    end loop;
end;
$$;
comment on procedure pgq.wait_receive(text, text, interval, integer, text, pgq.message[]) is
    'wait for messages of a worker''s slots and receive them';
