create or replace function pgq.unregister_consumer(x_queue_name text, x_consumer_name text)
returns integer as $$
-- ----------------------------------------------------------------------
-- Function: pgq.unregister_consumer(2)
--      Remove a consumer from a queue. A main consumer takes the members of its cooperative group with it; a member
--      leaves alone. The consumer itself goes with its last subscription.
-- Parameters:
--      x_queue_name    - name of the queue
--      x_consumer_name - name of the consumer
-- Returns: number of subscriptions removed; 0 if it is not subscribed
-- Locks: rows of the consumer and its subscriptions
-- Tables: pgq.queue, pgq.consumer, pgq.subscription, pgq.retry_queue
-- ----------------------------------------------------------------------
declare
    v_queue_id    integer;
    v_consumer_id integer;
    v_sub         pgq.subscription%rowtype;
    v_members     integer;
begin
    select q.queue_id into v_queue_id from pgq.queue q where q.queue_name = x_queue_name;
    select c.co_id into v_consumer_id from pgq.consumer c where c.co_name = x_consumer_name for update;
    select *
      into v_sub
      from pgq.subscription s
     where s.sub_queue = v_queue_id
       and s.sub_consumer = v_consumer_id
       for update;
    if not found then
        return 0;
    end if;

    -- A member has no position of its own between batches, and both ticks while it reads one.
    select count(*) into v_members from pgq.subscription s where s.sub_id = v_sub.sub_id;
    if v_members > 1 and (v_sub.sub_last_tick is null) = (v_sub.sub_next_tick is null) then
        delete from pgq.subscription s
         where s.sub_queue = v_queue_id
           and s.sub_consumer = v_consumer_id;
        return 1;
    end if;

    delete from pgq.retry_queue r where r.ev_owner = v_sub.sub_id;
    delete from pgq.subscription s where s.sub_id = v_sub.sub_id;
    get diagnostics v_members = row_count;

    perform 1 from pgq.subscription s where s.sub_consumer = v_consumer_id;
    if not found then
        delete from pgq.consumer c where c.co_id = v_consumer_id;
    end if;
    return v_members;
end;
$$ language plpgsql security definer set search_path = pg_catalog, pg_temp;

comment on function pgq.unregister_consumer(text, text) is 'remove a consumer from a queue; returns subscriptions removed';
