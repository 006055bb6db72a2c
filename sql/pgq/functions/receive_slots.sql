create or replace function pgq._slot_next(
    in    i_queue       text,
    in    i_consumer    text,
    in    i_worker      text,
    inout tried         integer[],
    out   queue_id      integer,
    out   member_id     integer,
    out   sub_id        integer,
    out   slots         integer,
    out   slot          integer,
    out   stop          bigint,
    out   batch_id      bigint,
    out   prev_tick     bigint,
    out   cur_tick      bigint,
    out   page_begin    bigint)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._slot_next(4)
--      Lock the next slot that a worker should look at, for pgq.receive(4), and say where it is.
--      First is one whose messages the worker has not acknowledged, then the one that had its turn
--      the longest time ago. One that somebody has locked is passed by: another session of the
--      worker receives, or somebody who comes too late acknowledges.
-- Parameters:
--      i_queue     name of the queue
--      i_consumer  name of the consumer
--      i_worker    the worker
--      tried       slots that it looked at in this call; none: it gets its part of the slots first
-- Returns: as pgq._page_open(2), of a slot, which is in tried then; without slot if none is left
-- Errors: 22004, 22023 name of the worker; 42704 not subscribed; 55000 it has no slots; XX001 as
--      pgq.next_batch_custom(5)
-- Locks: row of the slot, row of its subscription; as pgq._slot_divide(3), pgq._switch_slots(2)
-- Tables: pgq.queue, pgq.consumer, pgq.subscription, pgq.tick, pgq.page, pgq.slot, pgq.slot_worker
-- ----------------------------------------------------------------------
declare
    main        integer;
    candidate   pgq.slot;
    own         pgq.slot;
    sub         pgq.subscription;
    page        pgq.page;
begin
    if i_worker is null or i_worker = '' or length(i_worker) > 200 then
        raise exception 'the worker needs a name of 1 to 200 characters'
            using errcode = case when i_worker is null then '22004' else '22023' end,
                  hint = 'It says who has which slots: the name of host and process, for example.';
    end if;
    loop
        select s.sub_queue, s.sub_consumer
          into queue_id, main
          from pgq.subscription s
         where s.sub_queue = (select q.queue_id from pgq.queue q where q.queue_name = i_queue)
           and s.sub_consumer = (select c.co_id from pgq.consumer c where c.co_name = i_consumer);
        exit when found;
        -- It says what is wrong.
        perform pgq.next_batch(i_queue, i_consumer);
    end loop;
    if not exists (select 1
                     from pgq.slot s
                    where s.slot_queue = queue_id
                      and s.slot_consumer = main) then
        raise exception 'consumer "%" of queue "%" has no slots', i_consumer, i_queue
            using errcode = '55000',
                  hint = format('Give it some: select pgq.set_slots(%L, %L, 16). Or receive '
                                'without a worker''s name.', i_queue, i_consumer);
    end if;
    if tried = '{}' then
        perform pgq._slot_divide(queue_id, main, i_worker);
    end if;

    loop
        for candidate in
            select s.*
              from pgq.slot s
              join pgq.subscription m on m.sub_queue = s.slot_queue
                                     and m.sub_consumer = s.slot_member
             cross join lateral pgq._last_page(s.slot_queue, s.slot_member) p
             where s.slot_queue = queue_id
               and s.slot_consumer = main
               and s.slot_worker = i_worker
               and not s.slot_number = any (tried)
             order by coalesce(p.page_end is not null and p.page_batch = m.sub_batch, false) desc,
                   p.page_id nulls first
        loop
            tried := tried || candidate.slot_number;
            select s.*
              into own
              from pgq.slot s
             where s.slot_queue = queue_id
               and s.slot_consumer = main
               and s.slot_number = candidate.slot_number
               and s.slot_worker = i_worker
               for update skip locked;
            continue when not found;
            select m.*
              into sub
              from pgq.subscription m
             where m.sub_queue = queue_id
               and m.sub_consumer = own.slot_member
               for update skip locked;
            continue when not found;

            member_id := sub.sub_consumer;
            sub_id := sub.sub_id;
            slots := own.slot_count;
            slot := own.slot_number;
            stop := own.slot_stop;
            batch_id := sub.sub_batch;
            prev_tick := sub.sub_last_tick;
            if not exists (select 1
                             from pgq.tick t
                            where t.tick_queue = queue_id
                              and t.tick_id = prev_tick) then
                raise exception 'PgQ corruption: slot % of consumer % on queue % does not see '
                                'tick %', slot, i_consumer, i_queue, prev_tick
                    using errcode = 'XX001',
                          hint = 'Choose the tick where all slots go on: pgq.seek(). If the '
                                 'database was restored from a dump, call pgq.rebase().';
            end if;
            if batch_id is null then
                cur_tick := pgq._slot_window(queue_id, prev_tick, stop);
            else
                cur_tick := sub.sub_next_tick;
                perform pgq._check_tick(queue_id, cur_tick);
                page := pgq._last_page(queue_id, member_id);
                if page.page_batch = batch_id then
                    page_begin := page.page_begin;
                end if;
            end if;
            return;
        end loop;

        exit when not exists (select 1
                                from pgq.slot s
                               where s.slot_queue = queue_id
                                 and s.slot_consumer = main
                                 and s.slot_stop is not null)
                  or not pgq._switch_slots(queue_id, main);
        tried := '{}';
        perform pgq._slot_divide(queue_id, main, i_worker);
    end loop;
end;
$$;
comment on function pgq._slot_next(text, text, text, integer[]) is
    'lock the next slot that a worker should look at';

create or replace function pgq.receive(
    queue       text,
    consumer    text,
    max_return  integer,
    worker      text)
returns setof pgq.message
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.receive(4)
--      The next messages of one of the slots that a worker has, the oldest first. Messages of one
--      key are in one slot, and a slot is with one worker; those without a key are divided evenly.
--      A worker has its part of the slots from its first call on, as long as it is heard of: each
--      call renews its lease, whose length is the queue's setting slot_lease. They come again, to
--      the worker, until pgq.ack() says that they are done, or to another worker when the lease is
--      over; then they have a new batch_id, and the one who comes too late is refused.
-- Parameters:
--      queue       name of the queue
--      consumer    name of the consumer
--      max_return  how many messages at most; messages of one id are not divided
--      worker      name of the worker, up to 200 characters; each has its own
-- Returns: messages of one slot, which have the same batch_id; none if there is nothing (yet) for
--      this worker
-- Errors: 22004, 22023 max_return is NULL or below 1, or no name of a worker; 42501 no right to
--      read the event tables; 42704 not subscribed; 55000 the consumer has no slots; 40001 it was
--      changed meanwhile
-- Locks: rows of the slot and its subscription, until the transaction ends; nobody waits for them
--      but pgq.ack(), pgq.set_slots(), pgq.seek() and pgq.unsubscribe()
-- Tables: pgq.slot, pgq.slot_worker, pgq.subscription, pgq.page, pgq.aside, pgq.tick, pgq.queue,
--      event tables
-- ----------------------------------------------------------------------
declare
    place   record;
    page    record;
    batch   bigint;
    passed  boolean;
    aside   boolean;
    tried   integer[] := '{}';
begin
    if max_return is null or max_return < 1 then
        raise exception 'max_return must be at least 1, not %', coalesce(max_return::text, 'NULL')
            using errcode = case when max_return is null then '22004' else '22023' end,
                  hint = 'It is the number of messages to return at most.';
    end if;

    <<slots>>
    loop
        select * into place from pgq._slot_next(queue, consumer, worker, tried);
        if place.slot is null then
            return;
        end if;
        tried := place.tried;
        passed := false;
        while place.cur_tick is not null loop
            select *
              into page
              from pgq._page_end(place.queue_id, place.sub_id, place.prev_tick, place.cur_tick,
                                 place.page_begin, max_return, place.slots, place.slot);
            if found then
                aside := exists (select 1
                                   from pgq.aside a
                                  where a.as_queue = place.queue_id
                                    and a.as_sub = place.sub_id
                                    and a.as_tick = place.prev_tick);
                -- A page of which all is put aside is as good as acknowledged.
                exit slots when not aside
                                or exists (select 1
                                             from pgq._page_events(
                                                      place.queue_id, place.sub_id,
                                                      place.prev_tick, place.cur_tick,
                                                      place.page_begin, page.last_id, place.slots,
                                                      place.slot) e
                                            where not exists (select 1
                                                                from pgq.aside a
                                                               where a.as_queue = place.queue_id
                                                                 and a.as_sub = place.sub_id
                                                                 and a.as_tick = place.prev_tick
                                                                 and a.as_msg_id = e.ev_id));
                place.page_begin := page.last_id;
                continue when not page.is_batch_end;
            end if;

            if place.batch_id is not null then
                perform pgq.finish_batch(place.batch_id);
                place.batch_id := null;
            end if;
            passed := true;
            place.prev_tick := place.cur_tick;
            place.page_begin := null;
            place.cur_tick := pgq._slot_window(place.queue_id, place.prev_tick, place.stop);
        end loop;
        if passed then
            perform pgq._pass_ticks(place.queue_id, place.member_id, place.prev_tick);
        end if;
    end loop;

    batch := pgq._page_give(place.queue_id, place.member_id, place.prev_tick, place.cur_tick,
                            place.page_begin, page.last_id, page.is_batch_end);
    if batch is null then
        raise exception 'consumer "%" of queue "%" was moved meanwhile', consumer, queue
            using errcode = '40001',
                  hint = 'Call pgq.receive() again, in a new transaction.';
    end if;
    -- The function gives them in order.
    return query
    select e.ev_id, batch, e.ev_type, e.ev_data, e.ev_extra1,
           case when e.ev_extra2 is not null then pgq._headers(e.ev_extra2) end,
           coalesce(e.ev_retry, 0), e.ev_time, e.ev_extra3, e.ev_extra4
      from pgq._page_events(place.queue_id, place.sub_id, place.prev_tick, place.cur_tick,
                            place.page_begin, page.last_id, place.slots, place.slot) e
     where not aside
        or not exists (select 1
                         from pgq.aside a
                        where a.as_queue = place.queue_id
                          and a.as_sub = place.sub_id
                          and a.as_tick = place.prev_tick
                          and a.as_msg_id = e.ev_id);
end;
$$;
comment on function pgq.receive(text, text, integer, text) is
    'the next messages of one of a worker''s slots';
