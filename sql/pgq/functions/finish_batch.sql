create or replace function pgq.finish_batch(x_batch_id bigint)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.finish_batch(1)
--      Close a batch: the consumer has its events and moves on. A member of a cooperative group has
--      no position to move; it is without one until its next batch.
-- Parameters:
--      x_batch_id  id of the batch, or the one that messages of pgq.receive(3) have
-- Returns: 1 closed, 0 with a warning: no such batch
-- Locks: row of the subscription
-- Tables: pgq.subscription, pgq.page
-- ----------------------------------------------------------------------
declare
    batch   bigint;
begin
    update pgq.subscription s
       set sub_active = now(),
           sub_last_tick = case
                               when sub_id = any (select m.sub_id from pgq.subscription m
                                                   where m.sub_queue = s.sub_queue
                                                     and m.sub_consumer <> s.sub_consumer)
                                    and pgq._group_main(sub_queue, sub_consumer) is not null
                                   then null
                               else sub_next_tick
                           end,
           sub_next_tick = null,
           sub_batch = null
     where sub_batch = x_batch_id;
    if not found then
        select (h.sub).sub_batch into batch from pgq._page_holder(x_batch_id) h;
        if batch is not null then
            return pgq.finish_batch(batch);
        end if;
        raise warning 'finish_batch: batch % not found', x_batch_id
            using hint = 'It is finished already, or was given to somebody else.';
        return 0;
    end if;
    return 1;
end;
$$;
comment on function pgq.finish_batch(bigint) is 'close a batch: 1 closed, 0 no such batch';
