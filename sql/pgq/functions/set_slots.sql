create or replace function pgq._check_slots(i_slots integer)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._check_slots(1)
--      Refuse a number of slots that no consumer can have. Each of them reads what all get.
-- Errors: 22004 NULL; 22023 below 0 or above 1000
-- ----------------------------------------------------------------------
begin
    if i_slots is null or i_slots not between 0 and 1000 then
        raise exception 'slots must be from 0 to 1000, not %', coalesce(i_slots::text, 'NULL')
            using errcode = case when i_slots is null then '22004' else '22023' end,
                  hint = 'It is in how many parts a consumer is read at the same time; 0: it has '
                         'no slots.';
    end if;
end;
$$;
comment on function pgq._check_slots(integer) is 'refuse a number of slots';

create or replace function pgq._slot_member(i_name text)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._slot_member(1)
--      The row of pgq.consumer that stands for a slot, in all queues; a new one if there is none.
-- Parameters:
--      i_name  CONSUMER#NUMBER
-- Returns: its id, which is negative
-- Errors: 55000 a consumer has that name
-- Locks: the row
-- Tables: pgq.consumer
-- ----------------------------------------------------------------------
declare
    id  integer;
begin
    loop
        select c.co_id into id from pgq.consumer c where c.co_name = i_name for no key update;
        exit when found;
        -- After a restore the sequence may be behind ids of slots.
        insert into pgq.consumer (co_id, co_name)
        values (-pgq._next_id('consumer'), i_name)
            on conflict do nothing;
    end loop;
    if id > 0 then
        raise exception 'there is a consumer "%"', i_name
            using errcode = '55000',
                  hint = 'A slot would have this name. Give one of the two consumers another one.';
    end if;
    return id;
end;
$$;
comment on function pgq._slot_member(text) is 'the row of pgq.consumer that stands for a slot';

create or replace function pgq._make_slots(
    i_queue_id      integer,
    i_consumer_id   integer,
    i_slots         integer,
    i_tick          bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._make_slots(4)
--      Have a consumer have so many slots, which all stand at a tick and belong to no worker yet;
--      without slots it stands there itself.
-- Parameters:
--      i_queue_id, i_consumer_id   the consumer; the caller has locked its row, its subscription,
--                                  and its slots with theirs
--      i_slots                     how many
--      i_tick                      where they stand
-- Errors: as pgq._slot_member(1)
-- Tables: pgq.slot, pgq.subscription, pgq.page, pgq.aside, pgq.consumer
-- ----------------------------------------------------------------------
declare
    main    pgq.subscription;
    name    text;
    id      integer;
    surplus integer[];
begin
    select * into main from pgq.subscription s
     where s.sub_queue = i_queue_id and s.sub_consumer = i_consumer_id;
    select c.co_name into name from pgq.consumer c where c.co_id = i_consumer_id;

    surplus := array(select s.slot_member
                       from pgq.slot s
                      where s.slot_queue = i_queue_id
                        and s.slot_consumer = i_consumer_id
                        and s.slot_number >= i_slots);
    delete from pgq.slot s
     where s.slot_queue = i_queue_id
       and s.slot_member = any (surplus);
    delete from pgq.page p
     where p.page_queue = i_queue_id
       and p.page_consumer = any (surplus);
    delete from pgq.subscription s
     where s.sub_queue = i_queue_id
       and s.sub_consumer = any (surplus);
    perform 1 from pgq.consumer c where c.co_id = any (surplus) order by c.co_id for no key update;
    delete from pgq.consumer c
     where c.co_id = any (surplus)
       and not exists (select 1 from pgq.subscription s where s.sub_consumer = c.co_id);

    delete from pgq.aside a
     where a.as_queue = i_queue_id
       and a.as_sub = main.sub_id;
    update pgq.subscription s
       set sub_last_tick = i_tick,
           sub_batch = null,
           sub_next_tick = null
      from pgq.slot l
     where l.slot_queue = i_queue_id
       and l.slot_consumer = i_consumer_id
       and s.sub_queue = l.slot_queue
       and s.sub_consumer = l.slot_member;
    update pgq.slot
       set slot_count = i_slots,
           slot_worker = null,
           slot_stop = null,
           slot_next_count = null
     where slot_queue = i_queue_id
       and slot_consumer = i_consumer_id;
    for number in
        (select coalesce(max(s.slot_number) + 1, 0)
           from pgq.slot s
          where s.slot_queue = i_queue_id
            and s.slot_consumer = i_consumer_id) .. i_slots - 1
    loop
        id := pgq._slot_member(name || '#' || number);
        insert into pgq.subscription (sub_id, sub_queue, sub_consumer, sub_last_tick)
        values (main.sub_id, i_queue_id, id, i_tick);
        insert into pgq.slot (slot_queue, slot_consumer, slot_number, slot_count, slot_member)
        values (i_queue_id, i_consumer_id, number, i_slots, id);
    end loop;

    -- Whoever has an older snapshot cannot lock it now (40001).
    update pgq.subscription
       set sub_last_tick = case when i_slots = 0 then i_tick end,
           sub_batch = null,
           sub_next_tick = null,
           sub_active = now()
     where sub_queue = i_queue_id
       and sub_consumer = i_consumer_id;
    if i_slots = 0 then
        delete from pgq.slot_worker w
         where w.worker_queue = i_queue_id
           and w.worker_consumer = i_consumer_id;
    end if;
    perform pgq._wake_waiters(i_queue_id);
end;
$$;
comment on function pgq._make_slots(integer, integer, integer, bigint) is
    'have a consumer have so many slots';

create or replace function pgq._lock_slots(i_queue_id integer, i_consumer_id integer)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._lock_slots(2)
--      Lock all slots of a consumer: nobody receives meanwhile, and who has done so in a
--      transaction that is open is waited for.
-- Returns: their number
-- Locks: rows of the slots, then those of their subscriptions
-- Tables: pgq.slot, pgq.subscription
-- ----------------------------------------------------------------------
declare
    slots   integer;
begin
    perform 1
       from pgq.slot s
      where s.slot_queue = i_queue_id
        and s.slot_consumer = i_consumer_id
      order by s.slot_number
        for update;
    get diagnostics slots = row_count;
    perform 1
       from pgq.subscription m
      where m.sub_queue = i_queue_id
        and m.sub_consumer in (select s.slot_member
                                 from pgq.slot s
                                where s.slot_queue = i_queue_id
                                  and s.slot_consumer = i_consumer_id)
      order by m.sub_consumer desc
        for update;
    return slots;
end;
$$;
comment on function pgq._lock_slots(integer, integer) is 'lock all slots of a consumer';

create or replace function pgq._move_slots(
    i_queue_id      integer,
    i_consumer_id   integer,
    i_tick          bigint)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._move_slots(3)
--      Move all slots of a consumer to a tick, and give their open batches up. What their number is
--      to be, it is then.
-- Parameters:
--      i_queue_id, i_consumer_id   the consumer; the caller has locked its row and its subscription
--      i_tick                      the tick
-- Returns: false: it has no slots
-- Locks: as pgq._lock_slots(2)
-- Tables: pgq.slot, pgq.subscription, pgq.page, pgq.aside, pgq.consumer
-- ----------------------------------------------------------------------
declare
    slots   integer := pgq._lock_slots(i_queue_id, i_consumer_id);
begin
    if slots = 0 then
        return false;
    end if;
    perform pgq._make_slots(i_queue_id, i_consumer_id,
                            (select coalesce(max(s.slot_next_count), slots)
                               from pgq.slot s
                              where s.slot_queue = i_queue_id
                                and s.slot_consumer = i_consumer_id),
                            i_tick);
    return true;
end;
$$;
comment on function pgq._move_slots(integer, integer, bigint) is
    'move all slots of a consumer to a tick';

create or replace function pgq._switch_slots(i_queue_id integer, i_consumer_id integer)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._switch_slots(2)
--      If all slots of a consumer have come to where their number is to change, change it. Waits
--      for nobody: who has a slot has not come there, or will see that all have.
-- Returns: true: it was changed
-- Locks: rows of consumer, subscription, slots and their subscriptions, unless somebody has one
-- Tables: pgq.consumer, pgq.subscription, pgq.slot, pgq.page
-- ----------------------------------------------------------------------
declare
    locked  integer;
    ready   integer;
    tick    bigint;
    slots   integer;
begin
    -- Whoever waits for the last slot must not lock it all the time.
    if exists (select 1
                 from pgq.slot s
                 join pgq.subscription m on m.sub_queue = s.slot_queue
                                        and m.sub_consumer = s.slot_member
                where s.slot_queue = i_queue_id
                  and s.slot_consumer = i_consumer_id
                  and (m.sub_batch is not null or (m.sub_last_tick = s.slot_stop) is not true)) then
        return false;
    end if;
    perform 1 from pgq.consumer c where c.co_id = i_consumer_id for no key update skip locked;
    if not found then
        return false;
    end if;
    perform 1
       from pgq.subscription s
      where s.sub_queue = i_queue_id
        and s.sub_consumer = i_consumer_id
        for update skip locked;
    if not found then
        return false;
    end if;
    perform 1
       from pgq.slot s
      where s.slot_queue = i_queue_id
        and s.slot_consumer = i_consumer_id
        for update skip locked;
    get diagnostics locked = row_count;
    perform 1
       from pgq.subscription m
       join pgq.slot s on s.slot_queue = m.sub_queue and s.slot_member = m.sub_consumer
      where s.slot_queue = i_queue_id
        and s.slot_consumer = i_consumer_id
        for update of m skip locked;
    get diagnostics ready = row_count;
    if locked <> ready then
        return false;
    end if;
    select max(s.slot_stop), max(s.slot_next_count)
      into tick, slots
      from pgq.slot s
      join pgq.subscription m on m.sub_queue = s.slot_queue and m.sub_consumer = s.slot_member
     where s.slot_queue = i_queue_id
       and s.slot_consumer = i_consumer_id
    having count(*) = locked
       and locked = max(s.slot_count)
       and bool_and(m.sub_batch is null and m.sub_last_tick = s.slot_stop);
    if not found then
        return false;
    end if;
    perform pgq._make_slots(i_queue_id, i_consumer_id, slots, tick);
    return true;
end;
$$;
comment on function pgq._switch_slots(integer, integer) is
    'change the number of slots, if all have come to where it is to change';

create or replace function pgq.set_slots(queue text, consumer text, slots integer)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.set_slots(3)
--      Change in how many parts a consumer is read at the same time. Keys then belong to other
--      slots, so all slots first come to one place: the furthest that one of them is at. Those that
--      are there wait for the others, whose workers go on as before; the last one changes the
--      number. If it is not to change after all, name the number that it is.
-- Parameters:
--      queue       name of the queue
--      consumer    name of the consumer
--      slots       how many; 1: one worker at a time; 0: none, it is read by pgq.receive(3)
-- Returns: number of slots that have not come there yet; 0: it is done
-- Errors: 22004 NULL number; 22023 number below 0 or above 1000; 42704 no such queue, or the
--      consumer is not subscribed; 55000 it is a slot, belongs to a cooperative group, has an open
--      batch but no slots, or there is a consumer with the name of a slot
-- Locks: the queue's rotation lock (shared), rows of the consumer, its subscription, its slots and
--      their subscriptions: it waits for transactions that have received
-- Tables: pgq.queue, pgq.consumer, pgq.subscription, pgq.slot, pgq.slot_worker, pgq.page
-- ----------------------------------------------------------------------
declare
    id      integer := pgq._queue_id(queue);
    main    pgq.subscription;
    has     integer;
    place   bigint;
begin
    perform pgq._check_slots(slots);
    -- Ticks stay from here on.
    perform pgq._lock_shared('rotation', id);
    perform 1 from pgq.consumer c where c.co_name = consumer for no key update;
    select s.*
      into main
      from pgq.subscription s
     where s.sub_queue = id
       and s.sub_consumer = (select c.co_id from pgq.consumer c where c.co_name = consumer)
       for update;
    if not found then
        raise exception 'Not subscriber to queue: %/%', queue, coalesce(consumer, 'NULL')
            using errcode = '42704',
                  hint = 'pgq.subscribe(queue, consumer, slots => n) begins with slots.';
    end if;
    if main.sub_consumer < 0 then
        raise exception 'consumer "%" is a slot of another one', consumer
            using errcode = '55000',
                  hint = 'Name that one.';
    end if;
    has := pgq._lock_slots(id, main.sub_consumer);
    if has = 0 then
        if slots = 0 then
            return 0;
        end if;
        if exists (select 1
                     from pgq.subscription s
                    where s.sub_queue = id
                      and s.sub_id = main.sub_id
                      and (pgq._group_main(id, s.sub_consumer) = main.sub_consumer
                           or (s.sub_consumer = main.sub_consumer
                               and pgq._group_main(id, s.sub_consumer) is not null))) then
            raise exception 'consumer "%" belongs to a cooperative group', consumer
                using errcode = '55000',
                      hint = 'A consumer has members or slots. Unregister its members first.';
        end if;
        if main.sub_batch is not null then
            raise exception 'consumer "%" has an open batch', consumer
                using errcode = '55000',
                      hint = 'Have it acknowledge what it has received: pgq.ack() of all of the '
                             'batch, or pgq.finish_batch().';
        end if;
        perform pgq._make_slots(id, main.sub_consumer, slots, main.sub_last_tick);
        return 0;
    end if;

    if slots = has then
        update pgq.slot
           set slot_stop = null,
               slot_next_count = null
         where slot_queue = id
           and slot_consumer = main.sub_consumer
           and slot_stop is not null;
        return 0;
    end if;
    select max(coalesce(m.sub_next_tick, m.sub_last_tick))
      into place
      from pgq.slot s
      join pgq.subscription m on m.sub_queue = s.slot_queue and m.sub_consumer = s.slot_member
     where s.slot_queue = id
       and s.slot_consumer = main.sub_consumer;
    update pgq.slot
       set slot_stop = place,
           slot_next_count = slots
     where slot_queue = id
       and slot_consumer = main.sub_consumer;
    if pgq._switch_slots(id, main.sub_consumer) then
        return 0;
    end if;
    return (select count(*)
              from pgq.slot s
              join pgq.subscription m on m.sub_queue = s.slot_queue
                                     and m.sub_consumer = s.slot_member
             where s.slot_queue = id
               and s.slot_consumer = main.sub_consumer
               and (m.sub_batch is not null or m.sub_last_tick < place));
end;
$$;
comment on function pgq.set_slots(text, text, integer) is
    'change in how many parts a consumer is read; returns how many must still come to one place';
