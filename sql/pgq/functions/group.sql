-- Cooperative groups inside pgq: who is a member, and how one leaves without losing its batch. Used
-- by finish_batch and unregister_consumer here, and by extension pgq_coop. Internal: no grants.

create or replace function pgq._group_main(i_queue_id int4, i_consumer_id int4)
returns int4
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._group_main(2)
--      The main consumer of the cooperative group that a subscription is a member of.
--      Members share the main consumer's sub_id and are named MAIN.MEMBER. The name is part of the
--      test: after a logical restore of a 3.x database unrelated subscriptions may share a sub_id.
-- Parameters:
--      i_queue_id      pgq.queue.queue_id
--      i_consumer_id   pgq.consumer.co_id of the subscription
-- Returns: co_id of the main consumer; null for a main or an ordinary consumer, and when there is
--      no such subscription
-- Locks: none
-- Tables: pgq.subscription, pgq.consumer (read)
-- ----------------------------------------------------------------------
    select m.sub_consumer
      from pgq.subscription s
      join pgq.subscription m
        on m.sub_queue = s.sub_queue
       and m.sub_id = s.sub_id
       and m.sub_consumer <> s.sub_consumer
      join pgq.consumer sc on sc.co_id = s.sub_consumer
      join pgq.consumer mc on mc.co_id = m.sub_consumer
     where s.sub_queue = i_queue_id
       and s.sub_consumer = i_consumer_id
       and starts_with(sc.co_name, mc.co_name || '.')
     order by length(mc.co_name)
     limit 1
$$;
comment on function pgq._group_main(int4, int4) is
    'internal: main consumer of the cooperative group that a subscription is a member of, or null';

create or replace function pgq._drop_member(i_queue_id int4, i_consumer_id int4)
returns int4
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._drop_member(2)
--      Take a member out of its cooperative group. An open batch goes back to the group first:
--      - if nothing after it has been handed out, the group's position moves back to where the
--        batch began, and its events come again next, in order;
--      - else they go to the retry queue, owned by the group and with their retry counts as they
--        were, and come again after what has been handed out already.
--      Either way the events are delivered at least once more, but for those that pgq.nack() has
--      put aside: they come when they are due. The batch's id is dead: finishing it does nothing.
-- Parameters:
--      i_queue_id      pgq.queue.queue_id
--      i_consumer_id   pgq.consumer.co_id of the member
-- Returns: 1 when the member is gone, 0 when there was no such member (any more)
-- Locks: main subscription, the member's consumer row, its subscription, in this order
-- Tables: pgq.subscription, pgq.retry_queue, pgq.consumer, pgq.page, pgq.aside
-- ----------------------------------------------------------------------
declare
    main    pgq.subscription;
    member  pgq.subscription;
begin
    -- The main row is the group's lock: next_batch takes it too, so the position cannot move
    -- meanwhile.
    select m.*
      into main
      from pgq.subscription m
     where m.sub_queue = i_queue_id
       and m.sub_consumer = pgq._group_main(i_queue_id, i_consumer_id)
       for update;
    if not found then
        return 0;
    end if;
    perform 1 from pgq.consumer c where c.co_id = i_consumer_id for no key update;
    select s.*
      into member
      from pgq.subscription s
     where s.sub_queue = i_queue_id
       and s.sub_consumer = i_consumer_id
       and s.sub_id = main.sub_id
       for update;
    if not found then
        return 0;
    end if;

    if member.sub_batch is not null then
        if main.sub_batch is null and main.sub_last_tick = member.sub_next_tick then
            update pgq.subscription
               set sub_last_tick = member.sub_last_tick
             where sub_queue = i_queue_id
               and sub_consumer = main.sub_consumer;
        else
            insert into pgq.retry_queue
                   (ev_retry_after, ev_queue, ev_id, ev_time, ev_txid, ev_owner, ev_retry,
                    ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
            select current_timestamp, i_queue_id, e.ev_id, e.ev_time, null, member.sub_id,
                   e.ev_retry,
                   e.ev_type, e.ev_data, e.ev_extra1, e.ev_extra2, e.ev_extra3, e.ev_extra4
              from pgq.get_batch_events(member.sub_batch) e
                on conflict do nothing;
            -- That has left out what was put aside.
            delete from pgq.aside a
             where a.as_queue = i_queue_id
               and a.as_sub = member.sub_id
               and a.as_tick = member.sub_last_tick;
        end if;
    end if;

    delete from pgq.page
     where page_queue = i_queue_id
       and page_consumer = i_consumer_id;
    delete from pgq.subscription
     where sub_queue = i_queue_id
       and sub_consumer = i_consumer_id;
    delete from pgq.consumer c
     where c.co_id = i_consumer_id
       and not exists (select 1 from pgq.subscription s where s.sub_consumer = c.co_id);
    return 1;
end;
$$;
comment on function pgq._drop_member(int4, int4) is
    'internal: take a member out of its cooperative group, handing an open batch back to the group';
