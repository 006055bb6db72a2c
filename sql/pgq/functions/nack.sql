create or replace function pgq._give_up(
    i_queue_id  integer,
    i_consumer  integer,
    i_dead_queue text,
    i_event     record,
    i_reason    text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._give_up(5)
--      Make a message a dead letter: in pgq.dead_letter, or in a queue, in the form that the
--      client's dead-letter queues have (docs/client.md).
-- Parameters:
--      i_queue_id      queue of the message
--      i_consumer      consumer that gives it up
--      i_dead_queue    name of the dead-letter queue; NULL: the table, as where that queue is gone,
--                      has no consumer, takes no events, or not this one: it may be at its
--                      queue_per_tx_limit
--      i_event         the message, as pgq._page_events(6) gives it
--      i_reason        why
-- Tables: pgq.queue, pgq.subscription; pgq.dead_letter, or event table of the dead-letter queue
-- ----------------------------------------------------------------------
declare
    extras  jsonb;
begin
    if exists (select 1
                 from pgq.queue q
                 join pgq.subscription s on s.sub_queue = q.queue_id
                where q.queue_name = i_dead_queue
                  and not q.queue_disable_insert) then
        extras := jsonb_build_array(i_event.ev_extra1, i_event.ev_extra2, i_event.ev_extra3,
                                    i_event.ev_extra4);
        begin
            perform pgq.insert_event(
                i_dead_queue, i_event.ev_type, i_event.ev_data,
                jsonb_build_object(
                    'queue', (select q.queue_name from pgq.queue q where q.queue_id = i_queue_id),
                    'consumer', (select c.co_name from pgq.consumer c where c.co_id = i_consumer),
                    'ev_id', i_event.ev_id,
                    'ev_time', to_char(i_event.ev_time at time zone 'UTC',
                                       'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                    'attempts', coalesce(i_event.ev_retry, 0) + 1,
                    'error', coalesce(i_reason, ''),
                    'failed_at', to_char(now() at time zone 'UTC',
                                         'YYYY-MM-DD"T"HH24:MI:SS"Z"'))::text,
                case when extras <> '[null, null, null, null]' then extras::text end, null, null);
            return;
        exception
            when transaction_rollback or insufficient_resources or operator_intervention then
                raise;
            when others then
                -- Else a message that cannot be processed would hold up its consumer for ever.
                raise warning 'dead-letter queue "%" does not take message % of consumer "%": %',
                              i_dead_queue, i_event.ev_id,
                              (select c.co_name from pgq.consumer c where c.co_id = i_consumer),
                              sqlerrm
                    using hint = 'It is in pgq.dead_letter: see pgq.dead_letters().';
        end;
    end if;

    insert into pgq.dead_letter as d
           (dl_queue, dl_consumer, dl_msg_id, dl_created_at, dl_retry_count, dl_type,
            dl_payload, dl_extra1, dl_extra2, dl_extra3, dl_extra4, dl_reason)
    values (i_queue_id, i_consumer, i_event.ev_id, i_event.ev_time,
            coalesce(i_event.ev_retry, 0), i_event.ev_type, i_event.ev_data, i_event.ev_extra1,
            i_event.ev_extra2, i_event.ev_extra3, i_event.ev_extra4, i_reason)
        on conflict on constraint dead_letter_pkey do update
       set dl_retry_count = excluded.dl_retry_count,
           dl_reason = excluded.dl_reason,
           dl_last_failed = now(),
           dl_count = d.dl_count + 1;
end;
$$;
comment on function pgq._give_up(integer, integer, text, record, text) is
    'make a message a dead letter';

create or replace function pgq._retry_wait(
    i_base  interval,
    i_most  interval,
    i_times integer)
returns interval
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._retry_wait(3)
--      Longest wait before a message comes again.
-- Parameters:
--      i_base  the first time
--      i_most  not longer
--      i_times how often it came again
-- ----------------------------------------------------------------------
declare
    wait    interval := i_base;
begin
    for n in 1 .. i_times loop
        -- Twice as long may be more than an interval can be.
        if wait >= i_most / 2 or wait = '0' then
            return case when wait = '0' then wait else i_most end;
        end if;
        wait := wait * 2;
    end loop;
    return least(wait, i_most);
end;
$$;
comment on function pgq._retry_wait(interval, interval, integer) is
    'longest wait before a message comes again';

create or replace function pgq.nack(
    batch_id    bigint,
    msg_id      bigint,
    retry_after interval default null,
    reason      text default null)
returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.nack(4)
--      A message was not processed. It comes again later, or is a dead letter if it has come again
--      as often as the queue's setting max_retries says. It is out of the way then: the batch goes
--      on, and pgq.ack() of the others does not touch it. Repeating the call changes nothing.
-- Parameters:
--      batch_id    as the message has it
--      msg_id      the message
--      retry_after after what time; NULL: retry_base, doubled for each time that it has come again,
--                  up to retry_max, less a random part of up to a half
--      reason      why, for the dead letter
-- Returns: 'retry' or 'dead'
-- Errors: 22004 NULL; 22023 negative time; 42704 no such batch (any more), message not in it or
--      acknowledged already; 40001 as pgq.ack(1)
-- Locks: row of the subscription
-- Tables: pgq.subscription, pgq.page, pgq.aside, pgq.tick, pgq.queue, pgq.queue_option, event
--      tables, pgq.retry_queue, pgq.dead_letter
-- ----------------------------------------------------------------------
declare
    held    record;
    sub     pgq.subscription;
    known   pgq.page;
    message record;
    policy  pgq.queue_option;
    slot    pgq.slot;
    is_dead boolean;
begin
    if msg_id is null then
        raise exception 'msg_id must not be NULL'
            using errcode = '22004',
                  hint = 'Name the message that was not processed.';
    end if;
    if retry_after < '0' then
        raise exception 'retry_after must not be negative: %', retry_after
            using errcode = '22023',
                  hint = 'It is counted from now.';
    end if;

    select * into held from pgq._held_page(batch_id, msg_id);
    sub := held.sub;
    if sub.sub_consumer < 0 then
        slot := pgq._slot_of(sub.sub_queue, sub.sub_consumer);
    end if;
    select *
      into message
      from pgq._page_events(sub.sub_queue, sub.sub_id, sub.sub_last_tick, sub.sub_next_tick,
                            msg_id - 1, msg_id, coalesce(slot.slot_count, 1),
                            coalesce(slot.slot_number, 0))
     limit 1;
    if not found then
        raise exception 'message % is not in batch %', msg_id, batch_id
            using errcode = '42704',
                  hint = 'Ids of message and batch go together, as pgq.receive() gave them.';
    end if;

    policy := pgq._queue_option(sub.sub_queue);
    is_dead := coalesce(message.ev_retry, 0) >= policy.opt_max_retries;
    if exists (select 1
                 from pgq.aside a
                where a.as_queue = sub.sub_queue
                  and a.as_sub = sub.sub_id
                  and a.as_tick = sub.sub_last_tick
                  and a.as_msg_id = nack.msg_id) then
        return case when is_dead then 'dead' else 'retry' end;
    end if;

    if is_dead then
        perform pgq._give_up(sub.sub_queue,
                             coalesce(slot.slot_consumer,
                                      pgq._group_main(sub.sub_queue, sub.sub_consumer),
                                      sub.sub_consumer),
                             policy.opt_dead_letter_queue, message, reason);
    else
        insert into pgq.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry,
                                     ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
        values (now() + coalesce(retry_after,
                                 pgq._retry_wait(policy.opt_retry_base, policy.opt_retry_max,
                                                 coalesce(message.ev_retry, 0))
                                 * (1 - random() / 2)),
                sub.sub_queue, message.ev_id, message.ev_time, sub.sub_id,
                coalesce(message.ev_retry, 0) + 1, message.ev_type, message.ev_data,
                message.ev_extra1, message.ev_extra2, message.ev_extra3, message.ev_extra4)
            on conflict (ev_owner, ev_id) do nothing;
    end if;

    known := pgq._own_page(sub);
    perform pgq._forget_aside(sub, known, sub.sub_last_tick);
    insert into pgq.aside (as_queue, as_sub, as_tick, as_msg_id)
    values (sub.sub_queue, sub.sub_id, sub.sub_last_tick, msg_id);
    -- Also for who has an older snapshot: without a change here it would go on without this row.
    update pgq.page p
       set page_batch = sub.sub_batch,
           page_begin = case when p.page_batch = sub.sub_batch then p.page_begin end,
           page_end = case when p.page_batch = sub.sub_batch then p.page_end end,
           page_is_last = p.page_batch = sub.sub_batch and p.page_is_last,
           page_tick = sub.sub_last_tick,
           page_aside = case when p.page_tick = sub.sub_last_tick then p.page_aside else 0 end + 1
     where p.page_id = known.page_id;
    return case when is_dead then 'dead' else 'retry' end;
end;
$$;
comment on function pgq.nack(bigint, bigint, interval, text) is
    'a message was not processed: it comes again later, or is a dead letter';
