create or replace function pgq.force_tick(i_queue_name text)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.force_tick(1)
--      Have the next run of the ticker lay a tick, by advancing the event sequence beyond its
--      thresholds. Clients call this until the result changes.
-- Parameters:
--      i_queue_name    name of the queue
-- Returns: id of the newest tick now; NULL if there is no such queue
-- Tables: pgq.queue, pgq.tick, event sequence
-- ----------------------------------------------------------------------
declare
    queue   pgq.queue;
    seq     regclass;
begin
    select *
      into queue
      from pgq.queue q
     where q.queue_name = i_queue_name
       and not q.queue_external_ticker
       and not q.queue_ticker_paused;
    if found then
        seq := pgq._own_sequence(queue.queue_id, queue.queue_event_seq);
        perform setval(seq, nextval(seq) + queue.queue_ticker_max_count * 2::bigint + 1000);
        -- A worker that looks less often, because nothing has happened for a while, looks again.
        perform pgq._mark_dirty(queue.queue_id);
    end if;

    return max(t.tick_id)
      from pgq.tick t
      join pgq.queue q on q.queue_id = t.tick_queue
     where q.queue_name = i_queue_name;
end;
$$;
comment on function pgq.force_tick(text) is
    'have the next run of the ticker lay a tick; returns the newest tick now';
