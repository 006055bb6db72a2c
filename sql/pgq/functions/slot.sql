create or replace function pgq._key_slot(i_msg_id bigint, i_key text, i_slots integer)
returns integer
language c
immutable
parallel safe
-- ----------------------------------------------------------------------
-- Function: pgq._key_slot(3)
--      Number of the slot that a message belongs to. It is the same in every release: positions of
--      slots outlive the library.
-- Parameters:
--      i_msg_id    id of the message; without a key it decides
--      i_key       its key; NULL: none
--      i_slots     number of slots
-- Returns: a number from 0 on, below i_slots
-- Errors: 22023 i_slots is below 1
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_key_slot';
comment on function pgq._key_slot(bigint, text, integer) is
    'number of the slot that a message belongs to';

create or replace function pgq._slot_of(i_queue_id integer, i_member_id integer)
returns pgq.slot
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._slot_of(2)
--      The slot that a subscription is; NULL if it is none.
-- Parameters:
--      i_queue_id      pgq.queue.queue_id
--      i_member_id     pgq.consumer.co_id of the subscription
-- Tables: pgq.slot
-- ----------------------------------------------------------------------
    select s.*
      from pgq.slot s
     where s.slot_queue = i_queue_id
       and s.slot_member = i_member_id
$$;
comment on function pgq._slot_of(integer, integer) is 'the slot that a subscription is';

create or replace function pgq._refuse_slot(i_consumer text, sub pgq.subscription)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._refuse_slot(2)
--      Refuse to read a slot, or a consumer that has slots, as a whole.
-- Errors: 55000 it is one
-- Tables: pgq.slot
-- ----------------------------------------------------------------------
begin
    if sub.sub_consumer < 0 then
        raise exception 'consumer "%" is a slot of another one', i_consumer
            using errcode = '55000',
                  hint = 'Workers receive as the consumer, and say who they are: '
                         'pgq.receive(queue, consumer, max_return, worker).';
    end if;
    if exists (select 1
                 from pgq.slot s
                where s.slot_queue = sub.sub_queue
                  and s.slot_consumer = sub.sub_consumer) then
        raise exception 'consumer "%" has slots', i_consumer
            using errcode = '55000',
                  hint = 'Say who receives: pgq.receive(queue, consumer, max_return, worker). Or '
                         'take its slots away: pgq.set_slots(queue, consumer, 0).';
    end if;
end;
$$;
comment on function pgq._refuse_slot(text, pgq.subscription) is
    'refuse to read a slot, or a consumer that has slots, as a whole';

create or replace function pgq._slot_window(
    i_queue_id  integer,
    i_prev_tick bigint,
    i_stop      bigint)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._slot_window(3)
--      Where the next batch of a slot ends. A slot that is behind takes several ticks at once, as
--      long as they have no more events than one batch may have: each of the slots reads the
--      batches of all.
-- Parameters:
--      i_queue_id  the queue
--      i_prev_tick where it begins
--      i_stop      not beyond this tick; NULL: no limit
-- Returns: the tick; NULL if there is none yet
-- Tables: pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
    select coalesce(max(w.tick_id)
                        filter (where w.tick_event_seq <= p.tick_event_seq
                                                          + q.queue_batch_max_count),
                    min(w.tick_id))
      from pgq.tick p
      join pgq.queue q on q.queue_id = p.tick_queue
     cross join lateral (
               select t.tick_id, t.tick_event_seq
                 from pgq.tick t
                where t.tick_queue = i_queue_id
                  and t.tick_id > i_prev_tick
                  and t.tick_id <= coalesce(i_stop, 9223372036854775807)
                order by t.tick_queue, t.tick_id
                limit 1000) w
     where p.tick_queue = i_queue_id
       and p.tick_id = i_prev_tick
$$;
comment on function pgq._slot_window(integer, bigint, bigint) is
    'where the next batch of a slot ends';

create or replace function pgq.slots(
    in  queue           text,
    in  consumer        text,
    out slot            integer,
    out worker          text,
    out leased_until    timestamptz,
    out last_tick       bigint,
    out current_batch   bigint,
    out next_slots      integer)
returns setof record
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.slots(2)
--      The slots of a consumer, and who has them.
-- Parameters:
--      queue       name of the queue
--      consumer    name of the consumer
-- Returns: a row for each slot; none if it has no slots
--      slot            number of the slot, from 0
--      worker          who has it; NULL: nobody now
--      leased_until    until then, unless the worker is heard of before
--      last_tick       tick that the slot has finished
--      current_batch   its open batch
--      next_slots      number of slots there will be when all have read so far; NULL: it stays
-- Errors: 42704 no such queue, or the consumer is not subscribed to it
-- Tables: pgq.slot, pgq.slot_worker, pgq.subscription, pgq.queue, pgq.consumer
-- ----------------------------------------------------------------------
declare
    sub pgq.subscription := pgq._subscription_of(queue, consumer);
begin
    return query
    select s.slot_number, w.worker_name, w.worker_until, m.sub_last_tick, m.sub_batch,
           s.slot_next_count
      from pgq.slot s
      join pgq.subscription m on m.sub_queue = s.slot_queue and m.sub_consumer = s.slot_member
      left join pgq.slot_worker w
        on w.worker_queue = s.slot_queue
       and w.worker_consumer = s.slot_consumer
       and w.worker_name = s.slot_worker
       and w.worker_until > clock_timestamp()
     where s.slot_queue = sub.sub_queue
       and s.slot_consumer = sub.sub_consumer
     order by s.slot_number;
end;
$$;
comment on function pgq.slots(text, text) is 'the slots of a consumer, and who has them';
