create or replace function pgq._page_end(
    in  i_queue_id      integer,
    in  i_sub_id        integer,
    in  i_prev_tick     bigint,
    in  i_cur_tick      bigint,
    in  i_after         bigint,
    in  i_most          integer,
    in  i_slots         integer default 1,
    in  i_slot          integer default 0,
    out last_id         bigint,
    out is_batch_end    boolean)
returns setof record
language c
-- ----------------------------------------------------------------------
-- Function: pgq._page_end(8)
--      Where a page ends. The session remembers where the events of the window are, so that the
--      window is read once, and not for each page.
-- Parameters:
--      i_queue_id  queue
--      i_sub_id    subscription
--      i_prev_tick tick before the window
--      i_cur_tick  tick at its end
--      i_after     the page begins behind this event; NULL: with the first one
--      i_most      number of events; more only if the last one's id is shared
--      i_slots     only the events of one of so many slots count, see pgq._key_slot(3)
--      i_slot      which, from 0
-- Returns: id of its last event, and whether the window has none behind it; no row if there is no
--      event at all
-- Errors: 42501 no right to read the event tables; XX001 the ticks are gone; 22023 no such slot
-- Tables: pgq.queue, pgq.tick, event tables
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_page_end';
comment on function pgq._page_end(integer, integer, bigint, bigint, bigint, integer, integer,
    integer) is
    'where a page of events ends';

create or replace function pgq._page_events(
    in  i_queue_id  integer,
    in  i_sub_id    integer,
    in  i_prev_tick bigint,
    in  i_cur_tick  bigint,
    in  i_after     bigint,
    in  i_last      bigint,
    in  i_slots     integer default 1,
    in  i_slot      integer default 0,
    out ev_id       bigint,
    out ev_time     timestamptz,
    out ev_txid     bigint,
    out ev_retry    int4,
    out ev_type     text,
    out ev_data     text,
    out ev_extra1   text,
    out ev_extra2   text,
    out ev_extra3   text,
    out ev_extra4   text)
returns setof record
language c
rows 100
-- ----------------------------------------------------------------------
-- Function: pgq._page_events(8)
--      Events of a page, in order of ev_id. See pgq._page_end(8).
-- Parameters:
--      i_after     behind this event; NULL: from the first one on
--      i_last      up to this one
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_page_events';
comment on function pgq._page_events(integer, integer, bigint, bigint, bigint, bigint, integer,
    integer) is
    'events of a page';

create or replace function pgq._headers(i_text text)
returns jsonb
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._headers(1)
--      Headers of a message. What somebody else has put there and is no JSON is given as a string.
-- ----------------------------------------------------------------------
begin
    return i_text::jsonb;
exception
    when data_exception or program_limit_exceeded or statement_too_complex then
        return to_jsonb(i_text);
end;
$$;
comment on function pgq._headers(text) is 'headers of a message';

create or replace function pgq._page_open(
    in  i_queue         text,
    in  i_consumer      text,
    out queue_id        integer,
    out consumer_id     integer,
    out sub_id          integer,
    out batch_id        bigint,
    out prev_tick       bigint,
    out cur_tick        bigint,
    out page_begin      bigint)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._page_open(2)
--      Lock a subscription for pgq.receive(3), and say where it is.
-- Parameters:
--      i_queue     name of the queue
--      i_consumer  name of the consumer
-- Returns: its open batch, with how far that is acknowledged; or, without batch_id, the window that
--      the next batch will have, whose cur_tick is NULL if there is no newer tick
-- Errors: 55000 a member of a cooperative group; others as pgq.next_batch_custom(5)
-- Locks: row of the subscription
-- Tables: pgq.queue, pgq.consumer, pgq.subscription, pgq.tick, pgq.page
-- ----------------------------------------------------------------------
declare
    sub     pgq.subscription;
    page    pgq.page;
begin
    loop
        select s.*
          into sub
          from pgq.subscription s
         where s.sub_queue = (select q.queue_id from pgq.queue q where q.queue_name = i_queue)
           and s.sub_consumer = (select c.co_id from pgq.consumer c where c.co_name = i_consumer)
           for update;
        if found
           and exists (select 1
                         from pgq.subscription m
                        where m.sub_queue = sub.sub_queue
                          and m.sub_id = sub.sub_id
                          and m.sub_consumer <> sub.sub_consumer)
           and pgq._group_main(sub.sub_queue, sub.sub_consumer) is not null then
            raise exception 'consumer "%" is a member of a cooperative group', i_consumer
                using errcode = '55000',
                      hint = 'Its batches are the group''s to give: pgq_coop.next_batch().';
        end if;
        if sub.sub_consumer < 0 or sub.sub_last_tick is null then
            perform pgq._refuse_slot(i_consumer, sub);
        end if;
        exit when found
                  and exists (select 1
                                from pgq.tick t
                               where t.tick_queue = sub.sub_queue
                                 and t.tick_id = sub.sub_last_tick);
        -- It says what is wrong.
        perform pgq.next_batch(i_queue, i_consumer);
    end loop;

    queue_id := sub.sub_queue;
    consumer_id := sub.sub_consumer;
    sub_id := sub.sub_id;
    batch_id := sub.sub_batch;
    prev_tick := sub.sub_last_tick;
    cur_tick := sub.sub_next_tick;
    if batch_id is null then
        select min(t.tick_id)
          into cur_tick
          from pgq.tick t
         where t.tick_queue = sub.sub_queue
           and t.tick_id > sub.sub_last_tick;
    else
        -- It may be finished here.
        perform pgq._check_tick(sub.sub_queue, cur_tick);
        page := pgq._last_page(sub.sub_queue, sub.sub_consumer);
        if page.page_batch = batch_id then
            page_begin := page.page_begin;
        end if;
    end if;
end;
$$;
comment on function pgq._page_open(text, text) is 'lock a subscription and say where it is';

create or replace function pgq._page_give(
    i_queue_id      integer,
    i_consumer_id   integer,
    i_prev_tick     bigint,
    i_cur_tick      bigint,
    i_begin         bigint,
    i_end           bigint,
    i_is_last       boolean)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._page_give(7)
--      Note what pgq.receive(3) gives, and open the batch if none is open. Who is given a page that
--      somebody was given before gets it under a new id: of two who have the same messages the one
--      that came first can neither acknowledge nor put aside any of them. The id is the page's and
--      never the batch's own: pgq.subscription, which has an index on that, is not written for a
--      page, but that it is alive is noted every ten seconds.
-- Parameters:
--      i_queue_id, i_consumer_id   the subscription, which the caller has locked
--      i_prev_tick, i_cur_tick     the window of its batch
--      i_begin, i_end, i_is_last   the page
-- Returns: number of the page; NULL if it is not where the caller says
-- Errors: XX001 as pgq.next_batch_custom(5)
-- Locks: row of the subscription
-- Tables: pgq.subscription, pgq.page, pgq.aside, pgq.tick
-- ----------------------------------------------------------------------
declare
    sub     pgq.subscription;
    known   pgq.page;
    batch   bigint;
    given   bigint;
begin
    select *
      into sub
      from pgq.subscription s
     where s.sub_queue = i_queue_id
       and s.sub_consumer = i_consumer_id
       for update;
    if sub.sub_batch is null then
        -- Without a position it is a member of a group.
        if (i_prev_tick >= sub.sub_last_tick) is not true
           or not exists (select 1
                            from pgq.tick t
                           where t.tick_queue = i_queue_id
                             and t.tick_id = i_prev_tick)
           or not exists (select 1
                            from pgq.tick t
                           where t.tick_queue = i_queue_id
                             and t.tick_id = i_cur_tick
                             and t.tick_id > i_prev_tick) then
            return null;
        end if;
    elsif (i_prev_tick, i_cur_tick) is distinct from (sub.sub_last_tick, sub.sub_next_tick) then
        return null;
    end if;
    perform pgq._check_tick(i_queue_id, i_cur_tick);

    known := pgq._own_page(sub);
    perform pgq._forget_aside(sub, known, i_prev_tick);
    batch := coalesce(sub.sub_batch, nextval('pgq.batch_id_seq'));
    if sub.sub_batch is null then
        update pgq.subscription
           set sub_batch = batch,
               sub_last_tick = i_prev_tick,
               sub_next_tick = i_cur_tick,
               sub_active = now()
         where sub_queue = i_queue_id
           and sub_consumer = i_consumer_id;
    elsif sub.sub_active < now() - interval '10 seconds' then
        update pgq.subscription
           set sub_active = now()
         where sub_queue = i_queue_id
           and sub_consumer = i_consumer_id;
    end if;

    update pgq.page
       set page_id = nextval('pgq.batch_id_seq'),
           page_batch = batch,
           page_begin = i_begin,
           page_end = i_end,
           page_is_last = i_is_last,
           page_tick = i_prev_tick,
           page_aside = case when known.page_tick = i_prev_tick then known.page_aside else 0 end
     where page_id = known.page_id
    returning page_id into strict given;
    return given;
end;
$$;
comment on function pgq._page_give(integer, integer, bigint, bigint, bigint, bigint, boolean) is
    'note what pgq.receive() gives';

create or replace function pgq._pass_ticks(
    i_queue_id      integer,
    i_consumer_id   integer,
    i_tick          bigint)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._pass_ticks(3)
--      Move a subscription that has no open batch forward to a tick: up to there it has no events.
-- Parameters:
--      i_queue_id, i_consumer_id   the subscription
--      i_tick                      the tick
-- Errors: XX001 as pgq.next_batch_custom(5)
-- Locks: row of the subscription
-- Tables: pgq.subscription, pgq.tick
-- ----------------------------------------------------------------------
begin
    perform pgq._check_tick(i_queue_id, i_tick);
    update pgq.subscription s
       set sub_last_tick = i_tick,
           sub_active = now()
     where s.sub_queue = i_queue_id
       and s.sub_consumer = i_consumer_id
       and s.sub_batch is null
       and s.sub_last_tick < i_tick
       and exists (select 1
                     from pgq.tick t
                    where t.tick_queue = i_queue_id
                      and t.tick_id = i_tick);
end;
$$;
comment on function pgq._pass_ticks(integer, integer, bigint) is
    'move a subscription over batches without events';

create or replace function pgq._window_has_events(
    i_queue_id  integer,
    i_sub_id    integer,
    i_prev_tick bigint,
    i_cur_tick  bigint)
returns boolean
language c
-- ----------------------------------------------------------------------
-- Function: pgq._window_has_events(4)
--      True if there is an event between two ticks for a subscription; also where that cannot be
--      told from an index of the event tables, or the caller may not read them.
-- Parameters:
--      i_queue_id      queue
--      i_sub_id        subscription
--      i_prev_tick     tick before the window
--      i_cur_tick      tick at its end
-- Errors: 22004 NULL; XX001 the ticks are gone
-- Tables: pgq.queue, pgq.tick, event tables
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_window_has_events';
comment on function pgq._window_has_events(integer, integer, bigint, bigint) is
    'true if there is an event between two ticks for a subscription';

create or replace function pgq._last_empty_tick(
    i_queue_id  integer,
    i_sub_id    integer,
    i_tick      bigint)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._last_empty_tick(3)
--      How far a subscription can go on from a tick and find nothing. It looks at ever more ticks
--      at once, and at ever fewer once there is something: as many looks as the number of empty
--      batches has digits in binary, about twice.
-- Parameters:
--      i_queue_id  queue
--      i_sub_id    subscription
--      i_tick      where it is
-- Returns: the last tick before the batch that has an event; the newest one if there is none
-- Errors: XX001 the ticks are gone
-- Tables: as pgq._window_has_events(4)
-- ----------------------------------------------------------------------
declare
    place   bigint := i_tick;
    ahead   bigint;
    step    integer := 1;
    grows   boolean := true;
begin
    loop
        select max(t.tick_id)
          into ahead
          from (select n.tick_id
                  from pgq.tick n
                 where n.tick_queue = i_queue_id
                   and n.tick_id > place
                 order by n.tick_queue, n.tick_id
                 limit step) t;
        exit when ahead is null;
        if not pgq._window_has_events(i_queue_id, i_sub_id, place, ahead) then
            place := ahead;
        else
            exit when step = 1;
            grows := false;
        end if;
        step := case when grows then least(step, 500000000) * 2 else greatest(step / 2, 1) end;
    end loop;
    return place;
end;
$$;
comment on function pgq._last_empty_tick(integer, integer, bigint) is
    'the last tick before the next batch that has an event';

create or replace function pgq.receive(
    queue       text,
    consumer    text,
    max_return  integer default 100)
returns setof pgq.message
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.receive(3)
--      The next messages of a consumer, the oldest first. They come again until pgq.ack() says that
--      they are done; until then, nothing behind them comes. Opens a batch if none is open;
--      finishes batches that have nothing (more) to give, many empty ones in one step.
-- Parameters:
--      queue       name of the queue
--      consumer    name of the consumer
--      max_return  how many messages at most; messages of one id are not divided
-- Returns: messages; none if there is nothing (yet), and then no batch is open
-- Errors: 22004, 22023 max_return is NULL or below 1; 42501 no right to read the event tables;
--      55000 a member of a cooperative group; 40001 it was moved meanwhile; others as
--      pgq.next_batch_custom(5)
-- Locks: row of the subscription, until the transaction ends: others who receive as this consumer
--      wait
-- Tables: pgq.subscription, pgq.page, pgq.aside, pgq.tick, pgq.queue, event tables
-- ----------------------------------------------------------------------
declare
    place   record;
    page    record;
    batch   bigint;
    passed  boolean := false;
    aside   boolean;
begin
    if max_return is null or max_return < 1 then
        raise exception 'max_return must be at least 1, not %', coalesce(max_return::text, 'NULL')
            using errcode = case when max_return is null then '22004' else '22023' end,
                  hint = 'It is the number of messages to return at most.';
    end if;

    select * into place from pgq._page_open(queue, consumer);
    loop
        if place.cur_tick is null then
            if passed then
                perform pgq._pass_ticks(place.queue_id, place.consumer_id, place.prev_tick);
            end if;
            return;
        end if;

        select *
          into page
          from pgq._page_end(place.queue_id, place.sub_id, place.prev_tick, place.cur_tick,
                             place.page_begin, max_return);
        if found then
            aside := exists (select 1
                               from pgq.aside a
                              where a.as_queue = place.queue_id
                                and a.as_sub = place.sub_id
                                and a.as_tick = place.prev_tick);
            -- A page of which all is put aside is as good as acknowledged.
            exit when not aside
                      or exists (select 1
                                   from pgq._page_events(place.queue_id, place.sub_id,
                                                         place.prev_tick, place.cur_tick,
                                                         place.page_begin, page.last_id) e
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
        place.prev_tick := pgq._last_empty_tick(place.queue_id, place.sub_id, place.cur_tick);
        place.page_begin := null;
        select min(t.tick_id)
          into place.cur_tick
          from pgq.tick t
         where t.tick_queue = place.queue_id
           and t.tick_id > place.prev_tick;
    end loop;

    batch := pgq._page_give(place.queue_id, place.consumer_id, place.prev_tick, place.cur_tick,
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
                            place.page_begin, page.last_id) e
     where not aside
        or not exists (select 1
                         from pgq.aside a
                        where a.as_queue = place.queue_id
                          and a.as_sub = place.sub_id
                          and a.as_tick = place.prev_tick
                          and a.as_msg_id = e.ev_id);
end;
$$;
comment on function pgq.receive(text, text, integer) is 'the next messages of a consumer';
