create or replace function pgq.tune_storage(i_queue_name text)
returns integer
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.tune_storage(1)
--      Tell PostgreSQL that event tables are only filled and truncated: pack pages full, do not
--      vacuum.
-- Parameters:
--      i_queue_name    name of the queue
-- Returns: 1 done, 0 no such queue
-- Errors: 42501 not the owner of the tables
-- Locks: share update exclusive on the event tables
-- Tables: pgq.queue
-- ----------------------------------------------------------------------
declare
    queue pgq.queue;
begin
    select * into queue from pgq.queue q where q.queue_name = i_queue_name;
    if not found then
        return 0;
    end if;

    for i in 0 .. queue.queue_ntables - 1 loop
        execute format('alter table %s set (fillfactor = 100, autovacuum_enabled = off, '
                       'toast.autovacuum_enabled = off)',
                       pgq._event_table(queue.queue_data_pfx || '_' || i));
    end loop;
    return 1;
end;
$$;
comment on function pgq.tune_storage(text) is 'set storage options of a queue''s event tables';
