create or replace function pgq.create_queue(i_queue_name text)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.create_queue(1)
--      Create a queue: its row, sequences, event tables, and first tick. Two sessions may create
--      the same queue at the same time: one of them does, the other waits for it.
-- Parameters:
--      i_queue_name    any text, as in PgQ 3.5 also the empty one
-- Returns: 1 created, 0 was there already
-- Errors: 22004 NULL name
-- Locks: the new row; see pgq.ticker(1)
-- Tables: pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
declare
    id      integer;
    ntables integer;
    parent  text;
    child   text;
begin
    if i_queue_name is null then
        raise exception 'Invalid NULL value'
            using errcode = '22004',
                  hint = 'A queue needs a name.';
    end if;

    perform 1 from pgq.queue q where q.queue_name = i_queue_name;
    if found then
        return 0;
    end if;

    -- A dump of the schema alone leaves tables of queues that are not there. They are in nobody's
    -- way but an id's.
    loop
        id := pgq._next_id('queue');
        parent := 'event_' || id;
        perform 1
           from pg_catalog.pg_class c
          where c.relnamespace = 'pgq'::regnamespace
            and c.relname ~ ('^' || parent || '(_|$)');
        exit when not found;
    end loop;

    insert into pgq.queue (queue_id, queue_name, queue_data_pfx, queue_event_seq, queue_tick_seq)
    values (id, i_queue_name, 'pgq.' || parent, 'pgq.' || parent || '_id_seq',
            'pgq.' || parent || '_tick_seq')
        on conflict (queue_name) do nothing
    returning queue_ntables
         into ntables;
    if not found then
        return 0;
    end if;

    execute format('create sequence pgq.%I', parent || '_id_seq');
    execute format('create sequence pgq.%I', parent || '_tick_seq');
    execute format('create table pgq.%I () inherits (pgq.event_template)', parent);

    for i in 0 .. ntables - 1 loop
        child := parent || '_' || i;
        execute format('create table pgq.%I () inherits (pgq.%I)', child, parent);
        execute format('alter table pgq.%I alter column ev_id set default nextval(%L)',
                       child, 'pgq.' || parent || '_id_seq');
        execute format('create index %I on pgq.%I (ev_txid)', child || '_txid_idx', child);
    end loop;

    perform pgq.grant_perms(i_queue_name);
    perform pgq.ticker(i_queue_name);
    perform pgq.tune_storage(i_queue_name);

    return 1;
end;
$$;
comment on function pgq.create_queue(text) is 'create a queue: 1 created, 0 was there already';
