create or replace function pgq._rotation_period(i_queue_id integer, i_period interval)
returns interval
language sql
stable
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._rotation_period(2)
--      Least time between two switches of a queue's event table. A switch leaves what came after
--      the one before; so where events are kept longer than a period, it waits that long.
-- Parameters:
--      i_queue_id  the queue
--      i_period    its queue_rotation_period
-- Tables: pgq.queue_option
-- ----------------------------------------------------------------------
    -- No settings of its own, so that it is expanded into its query.
    select greatest(i_period, (select o.opt_keep
                                 from pgq.queue_option o
                                where o.opt_queue operator(pg_catalog.=) i_queue_id))
$$;
comment on function pgq._rotation_period(integer, interval) is
    'least time between two switches of a queue''s event table';

create or replace function pgq.maint_rotate_tables_step1(i_queue_name text)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.maint_rotate_tables_step1(1)
--      Switch a queue to its next event table, which is emptied first, if the time has come, no
--      consumer needs the previous table, and all of it is older than the queue is to keep. Must
--      be followed by pgq.maint_rotate_tables_step2 in another transaction.
-- Parameters:
--      i_queue_name    name of the queue
-- Returns: 0, always
-- Errors: XX001 transaction ids or ticks are not those of this cluster (see pgq.rebase), or a
--      consumer's tick is gone
-- Locks: the queue's rotation lock (gives up if busy), row of the queue, access exclusive on the
--      table (gives up)
-- Tables: pgq.queue, pgq.queue_option, pgq.subscription, pgq.tick, pgq.aside, event tables
-- ----------------------------------------------------------------------
declare
    id          integer;
    queue       pgq.queue;
    lowest      bigint;
    oldest      bigint;
    next_table  integer;
    tab         regclass;
begin
    -- In a statement of its own, so that what follows sees what the last holder did.
    select q.queue_id into id from pgq.queue q where q.queue_name = i_queue_name;
    if not found or not pgq._try_lock('rotation', id) then
        return 0;
    end if;

    select *
      into queue
      from pgq.queue q
     where q.queue_id = id
       and q.queue_ntables > 1
       and q.queue_rotation_period is not null
       and q.queue_switch_step2 is not null
       and q.queue_switch_time + pgq._rotation_period(q.queue_id, q.queue_rotation_period)
               < current_timestamp
       for no key update;
    if not found then
        return 0;
    end if;

    if txid_current() < queue.queue_switch_step1 then
        raise exception 'queue % maint failure: step1=%, current=%',
                        i_queue_name, queue.queue_switch_step1, txid_current()
            using errcode = 'XX001',
                  hint = 'If the database was restored from a dump, call pgq.rebase().';
    end if;

    select min(s.sub_last_tick) into lowest from pgq.subscription s where s.sub_queue = id;
    -- Where the history begins that is to be kept, somebody stands as well.
    select least(lowest, coalesce(max(t.tick_id) filter (where t.tick_time <= now() - o.opt_keep),
                                  min(t.tick_id)))
      into lowest
      from pgq.queue_option o
      join pgq.tick t on t.tick_queue = o.opt_queue
     where o.opt_queue = id
       and o.opt_keep > '0';
    if lowest is not null then
        select txid_snapshot_xmin(t.tick_snapshot)
          into oldest
          from pgq.tick t
         where t.tick_queue = id
           and t.tick_id = lowest;
        if not found then
            raise exception 'queue % maint failure: tick % not found', i_queue_name, lowest
                using errcode = 'XX001',
                      hint = 'A consumer stands there: see pgq.queue_health() for which.';
        end if;
        if oldest <= queue.queue_switch_step2 then
            return 0;
        end if;
    end if;

    next_table := (queue.queue_cur_table + 1) % queue.queue_ntables;
    tab := pgq._event_table(queue.queue_data_pfx || '_' || next_table);
    begin
        execute format('lock table %s in access exclusive mode nowait', tab);
        execute format('truncate %s', tab);
    exception
        when lock_not_available then
            return 0;
    end;

    update pgq.queue
       set queue_cur_table = next_table,
           queue_switch_time = current_timestamp,
           queue_switch_step1 = txid_current(),
           queue_switch_step2 = null
     where queue_id = id;

    -- The newest tick stays: new consumers begin there.
    delete from pgq.tick t
     where t.tick_queue = id
       and txid_snapshot_xmin(t.tick_snapshot) < queue.queue_switch_step2
       and t.tick_id < (select max(n.tick_id) from pgq.tick n where n.tick_queue = id);
    -- Batches that began before the oldest one are done.
    delete from pgq.aside a
     where a.as_queue = id
       and a.as_tick < (select min(n.tick_id) from pgq.tick n where n.tick_queue = id);
    return 0;
end;
$$;
comment on function pgq.maint_rotate_tables_step1(text) is
    'switch a queue to its next event table, if it is time';

create or replace function pgq.maint_rotate_tables_step2()
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.maint_rotate_tables_step2(0)
--      For all queues that have switched: note from which transaction on nobody writes to the
--      previous table. A writer has its transaction id before it looks where to write. So
--      transactions that get their id after step 1 is committed, and its invalidation messages are
--      out, write to the new table. To have seen the commit, this takes the rotation lock, and only
--      then determines the id.
-- Returns: 0, always
-- Errors: 25001 called in a transaction that cannot determine the id, since its snapshot is older
--      than the lock
-- Locks: rotation locks (skips the busy), rows of the queues
-- Tables: pgq.queue
-- ----------------------------------------------------------------------
declare
    pending integer;
    locked  integer[] := '{}';
begin
    for pending in
        select q.queue_id from pgq.queue q where q.queue_switch_step2 is null order by q.queue_id
    loop
        if pgq._try_lock('rotation', pending) then
            locked := locked || pending;
        end if;
    end loop;
    if locked = '{}' then
        return 0;
    end if;
    if txid_current_if_assigned() is not null
       and current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        raise exception 'pgq.maint_rotate_tables_step2 must be called in a transaction of its own'
            using errcode = '25001',
                  hint = 'Call it alone, in a transaction that begins after the one of '
                         'pgq.maint_rotate_tables_step1() has committed.';
    end if;

    -- This transaction's id may be older than the locks; the end of a new snapshot is not.
    -- Of a switch in this very transaction nobody else knows yet.
    update pgq.queue
       set queue_switch_step2 = greatest(txid_current(),
                                         txid_snapshot_xmax(txid_current_snapshot()))
     where queue_id = any (locked)
       and queue_switch_step2 is null
       and queue_switch_step1 is distinct from txid_current_if_assigned();
    return 0;
end;
$$;
comment on function pgq.maint_rotate_tables_step2() is
    'second step of a switch of event tables, in its own transaction';
