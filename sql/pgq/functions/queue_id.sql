create or replace function pgq._queue_id(i_queue text)
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._queue_id(1)
--      Number of a queue.
-- Errors: 42704 no such queue
-- ----------------------------------------------------------------------
declare
    id  integer;
begin
    select q.queue_id into id from pgq.queue q where q.queue_name = i_queue;
    if not found then
        raise exception 'No such event queue'
            using errcode = '42704',
                  hint = pgq._no_queue_hint(i_queue);
    end if;
    return id;
end;
$$;
comment on function pgq._queue_id(text) is 'number of a queue';
