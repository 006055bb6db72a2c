create or replace function pgq.pause_queue(i_queue_name text)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.pause_queue(1)
--      Lay no more ticks in a queue: events are taken, but reach no consumer until
--      pgq.resume_queue.
-- Parameters:
--      i_queue_name    name of the queue
-- Returns: 1 paused, 0 it was
-- Errors: 42704 no such queue
-- Locks: the queue's ticker lock, row of the queue
-- ----------------------------------------------------------------------
begin
    return pgq._set_paused(i_queue_name, true);
end;
$$;
comment on function pgq.pause_queue(text) is 'lay no more ticks in a queue';

create or replace function pgq.resume_queue(i_queue_name text)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.resume_queue(1)
--      Lay ticks in a queue again.
-- Parameters:
--      i_queue_name    name of the queue
-- Returns: 1 resumed, 0 it was not paused
-- Errors: 42704 no such queue
-- Locks: the queue's ticker lock, row of the queue
-- ----------------------------------------------------------------------
begin
    return pgq._set_paused(i_queue_name, false);
end;
$$;
comment on function pgq.resume_queue(text) is 'lay ticks in a queue again';

create or replace function pgq._set_paused(i_queue_name text, i_paused boolean)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._set_paused(2)
--      Change pgq.queue.queue_ticker_paused.
-- ----------------------------------------------------------------------
declare
    id integer;
begin
    select q.queue_id into id from pgq.queue q where q.queue_name = i_queue_name;
    if not found then
        raise exception 'No such event queue'
            using errcode = '42704',
                  hint = pgq._no_queue_hint(i_queue_name);
    end if;
    -- When this commits, no ticker is in the middle of a tick that it decided before.
    perform pgq._lock('ticks', id);
    update pgq.queue
       set queue_ticker_paused = i_paused
     where queue_id = id
       and queue_ticker_paused is distinct from i_paused;
    if not found then
        return 0;
    end if;
    if not i_paused then
        perform pgq._mark_dirty(id);
    end if;
    return 1;
end;
$$;
comment on function pgq._set_paused(text, boolean) is 'pause or resume a queue';
