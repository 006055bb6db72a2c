create or replace function pgq.register_consumer_at(
    x_queue_name    text,
    x_consumer_name text,
    x_tick_pos      bigint)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.register_consumer_at(3)
--      Subscribe a consumer to a queue at a tick, or move it there; an open batch is then given up.
-- Parameters:
--      x_queue_name    name of the queue
--      x_consumer_name name of the consumer, which need not exist yet
--      x_tick_pos      tick to stand on; NULL: the newest one, or where the consumer stands already
-- Returns: 1 subscribed, 0 was subscribed already
-- Errors: 42704 no such queue or tick; 55000 the queue has no ticks, or the name is that of a
--      slot; 23502 NULL consumer
-- Locks: the queue's rotation lock (shared, so that the tick stays), then the rows of consumer and
--      subscription
-- Tables: pgq.queue, pgq.tick, pgq.consumer, pgq.subscription
-- ----------------------------------------------------------------------
declare
    id          integer;
    consumer    integer;
    last_tick   bigint;
begin
    select q.queue_id into id from pgq.queue q where q.queue_name = x_queue_name;
    if not found then
        raise exception 'Event queue not created yet'
            using errcode = '42704',
                  hint = pgq._no_queue_hint(x_queue_name);
    end if;
    perform pgq._lock_shared('rotation', id);
    perform 1 from pgq.queue q where q.queue_id = id;
    if not found then -- dropped while this call waited
        raise exception 'Event queue not created yet'
            using errcode = '42704',
                  hint = pgq._no_queue_hint(x_queue_name);
    end if;

    -- Whoever has the row of the consumer decides on its subscriptions. Not "for update": foreign
    -- keys look at it when a subscription is updated twice, and whoever does that may have the
    -- subscription that this call waits for.
    loop
        select c.co_id
          into consumer
          from pgq.consumer c
         where c.co_name = x_consumer_name
           for no key update;
        exit when found;
        insert into pgq.consumer (co_id, co_name)
        values (pgq._next_id('consumer'), x_consumer_name)
            on conflict (co_name) do nothing;
    end loop;

    if consumer < 0 then
        raise exception 'consumer "%" is a slot of another one', x_consumer_name
            using errcode = '55000',
                  hint = 'Choose another name; pgq.seek() moves all slots of a consumer.';
    end if;

    if x_tick_pos is not null then
        perform 1 from pgq.tick t where t.tick_queue = id and t.tick_id = x_tick_pos;
        if not found then
            raise exception 'cannot reposition, tick not found: %', x_tick_pos
                using errcode = '42704',
                      hint = (select format('Queue "%s" has ', x_queue_name)
                                     || coalesce('ticks ' || min(t.tick_id) || ' to '
                                                 || max(t.tick_id), 'no ticks') || '.'
                                from pgq.tick t
                               where t.tick_queue = id);
        end if;
    end if;

    perform 1
       from pgq.subscription s
      where s.sub_queue = id
        and s.sub_consumer = consumer
        for update;
    if found then
        if x_tick_pos is not null and not pgq._move_slots(id, consumer, x_tick_pos) then
            update pgq.subscription
               set sub_last_tick = x_tick_pos,
                   sub_batch = null,
                   sub_next_tick = null,
                   sub_active = now()
             where sub_queue = id
               and sub_consumer = consumer;
            -- Moved back it gets all of its batches again, also what it had put aside of them.
            delete from pgq.aside a
             using pgq.subscription s
             where s.sub_queue = id
               and s.sub_consumer = consumer
               and a.as_queue = id
               and a.as_sub = s.sub_id;
        end if;
        return 0;
    end if;

    last_tick := x_tick_pos;
    if last_tick is null then
        select t.tick_id
          into last_tick
          from pgq.tick t
         where t.tick_queue = id
         order by t.tick_id desc
         limit 1;
        if not found then
            raise exception 'No ticks for this queue.  Please run ticker on database.'
                using errcode = '55000',
                      hint = format('Queue "%s" has none: call pgq.ticker(%L), or have the worker '
                                    'or pgqd run.', x_queue_name, x_queue_name);
        end if;
    end if;

    insert into pgq.subscription (sub_id, sub_queue, sub_consumer, sub_last_tick)
    values (pgq._next_id('subscription'), id, consumer, last_tick);
    return 1;
end;
$$;
comment on function pgq.register_consumer_at(text, text, bigint) is
    'subscribe a consumer at a tick, or move it there';

create or replace function pgq.register_consumer(x_queue_name text, x_consumer_id text)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.register_consumer(2)
--      Subscribe a consumer to a queue: it gets what is committed after the newest tick.
-- Parameters:
--      x_queue_name    name of the queue
--      x_consumer_id   name of the consumer
-- Returns: 1 subscribed, 0 was subscribed already
-- Errors: as pgq.register_consumer_at(3)
-- ----------------------------------------------------------------------
begin
    return pgq.register_consumer_at(x_queue_name, x_consumer_id, null);
end;
$$;
comment on function pgq.register_consumer(text, text) is
    'subscribe a consumer: 1 subscribed, 0 was already';
