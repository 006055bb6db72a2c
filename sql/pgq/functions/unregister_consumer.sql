create or replace function pgq._unregister_consumer(
    x_queue_name    text,
    x_consumer_name text,
    i_force         boolean)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._unregister_consumer(3)
--      Remove a consumer from a queue, as pgq.unregister_consumer(2) says.
-- Parameters:
--      x_queue_name    name of the queue
--      x_consumer_name name of the consumer
--      i_force         true: with its dead letters, and a notice says how many
-- Returns: number of subscriptions removed, each slot being one; 0 if it is not subscribed
-- Errors: 55000 it has dead letters in pgq.dead_letter, and it is not forced, or it is a slot
-- Locks: the consumer's row, its subscription, then those of its members; for a member what
--      pgq._drop_member(2) locks; then rows of what is dropped, as pgq.nack(4) has that order
-- Tables: pgq.queue, pgq.consumer, pgq.subscription, pgq.retry_queue, pgq.page, pgq.aside,
--      pgq.dead_letter, pgq.slot, pgq.slot_worker
-- ----------------------------------------------------------------------
declare
    id          integer;
    consumer    integer;
    sub         pgq.subscription;
    main        integer[];
    letters     bigint;
begin
    select q.queue_id into id from pgq.queue q where q.queue_name = x_queue_name;
    loop
        select c.co_id into consumer from pgq.consumer c where c.co_name = x_consumer_name;
        if consumer < 0 then
            raise exception 'consumer "%" is a slot of another one', x_consumer_name
                using errcode = '55000',
                      hint = 'Slots go with their consumer. pgq.set_slots() changes their number.';
        end if;
        -- A member's group is locked before its own rows.
        if pgq._group_main(id, consumer) is not null then
            return pgq._drop_member(id, consumer);
        end if;

        begin
            perform 1 from pgq.consumer c where c.co_id = consumer for no key update;
            if pgq._group_main(id, consumer) is not null then
                raise exception using errcode = 'PQ001';
            end if;
            exit;
        exception
            -- It became a member in between; the block's end has given its row back.
            when sqlstate 'PQ001' then null;
        end;
    end loop;

    select *
      into sub
      from pgq.subscription s
     where s.sub_queue = id
       and s.sub_consumer = consumer
       for update;
    if not found then
        return 0;
    end if;

    -- The consumer and its members. Not by sub_id alone: restored from a dump of 3.x, unrelated
    -- subscriptions can have the same.
    select array_agg(s.sub_consumer)
      into main
      from pgq.subscription s
     where s.sub_queue = id
       and s.sub_id = sub.sub_id
       and (s.sub_consumer = consumer
            or s.sub_consumer in (select l.slot_member
                                    from pgq.slot l
                                   where l.slot_queue = id
                                     and l.slot_consumer = consumer)
            or pgq._group_main(s.sub_queue, s.sub_consumer) = consumer);
    perform 1 from pgq.consumer c where c.co_id = any (main) order by c.co_id for no key update;
    -- Before the rows of their pages, as pgq.ack(1) has that order.
    perform pgq._lock_slots(id, consumer);
    perform 1
       from pgq.subscription s
      where s.sub_queue = id
        and s.sub_consumer = any (main)
      order by s.sub_consumer desc
        for update;

    if i_force then
        delete from pgq.dead_letter d
         where d.dl_queue = id
           and d.dl_consumer = any (main);
        get diagnostics letters = row_count;
        if letters > 0 then
            raise notice '% dead letters of consumer "%" are dropped', letters, x_consumer_name;
        end if;
    end if;
    select count(*)
      into letters
      from pgq.dead_letter d
     where d.dl_queue = id
       and d.dl_consumer = any (main);
    if letters > 0 then
        raise exception 'consumer "%" has dead letters on queue "%": %', x_consumer_name,
                        x_queue_name, letters
            using errcode = '55000',
                  hint = format('pgq.dead_letters() shows them. To drop them with it: select '
                                'pgq.unsubscribe(%L, %L, force => true).', x_queue_name,
                                x_consumer_name);
    end if;

    delete from pgq.slot l
     where l.slot_queue = id
       and l.slot_consumer = consumer;
    delete from pgq.slot_worker w
     where w.worker_queue = id
       and w.worker_consumer = consumer;
    delete from pgq.page p
     where p.page_queue = id
       and p.page_consumer = any (main);
    delete from pgq.aside a
     where a.as_queue = id
       and a.as_sub = sub.sub_id;
    delete from pgq.retry_queue r
     where r.ev_owner = sub.sub_id
       and r.ev_queue = id;
    delete from pgq.subscription s
     where s.sub_queue = id
       and s.sub_consumer = any (main);
    delete from pgq.consumer c
     where c.co_id = any (main)
       and not exists (select 1 from pgq.subscription s where s.sub_consumer = c.co_id);
    return cardinality(main);
end;
$$;
comment on function pgq._unregister_consumer(text, text, boolean) is
    'remove a consumer from a queue, if forced with its dead letters';

create or replace function pgq.unregister_consumer(x_queue_name text, x_consumer_name text)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.unregister_consumer(2)
--      Remove a consumer from a queue. A main consumer takes the members of its cooperative group
--      with it; a member leaves alone, and its open batch goes back to the group. Consumers go with
--      their last subscription.
-- Parameters:
--      x_queue_name    name of the queue
--      x_consumer_name name of the consumer
-- Returns: number of subscriptions removed; 0 if it is not subscribed
-- Errors: 55000 it has dead letters in pgq.dead_letter
-- Locks: the consumer's row, its subscription, then those of its members; for a member what
--      pgq._drop_member(2) locks
-- Tables: pgq.queue, pgq.consumer, pgq.subscription, pgq.retry_queue, pgq.page, pgq.aside,
--      pgq.dead_letter
-- ----------------------------------------------------------------------
begin
    return pgq._unregister_consumer(x_queue_name, x_consumer_name, false);
end;
$$;
comment on function pgq.unregister_consumer(text, text) is
    'remove a consumer from a queue; returns subscriptions removed';
