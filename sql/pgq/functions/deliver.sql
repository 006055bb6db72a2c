-- Delayed events become events of their queues: see schema/later.sql. One session at a time does
-- that, under lock "delayed", which pgq.cancel(2) takes, too, for a moment.

create or replace function pgq._delayed_state()
returns pgq.delayed_state
language sql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._delayed_state(0)
--      How far delayed events are delivered; NULL: nothing was.
-- Tables: pgq.delayed_state
-- ----------------------------------------------------------------------
    select s from pgq.delayed_state s order by s.ds_round desc limit 1
$$;
comment on function pgq._delayed_state() is 'how far delayed events are delivered';

create or replace function pgq._undelivered(
    i_due       timestamptz,
    i_queue     integer,
    i_id        bigint,
    i_txid      bigint,
    state       pgq.delayed_state)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._undelivered(5)
--      True if a delayed event has not been dealt with in a state; NULL state: nothing has.
-- ----------------------------------------------------------------------
    select (state.ds_due is null
            or (i_due, i_queue, i_id) > (state.ds_due, state.ds_queue, state.ds_id)
            or not txid_visible_in_snapshot(i_txid, state.ds_snapshot))
$$;
comment on function pgq._undelivered(timestamptz, integer, bigint, bigint, pgq.delayed_state) is
    'true if a delayed event has not been dealt with';

create or replace function pgq._has_undelivered(i_bucket text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._has_undelivered(1)
--      True if a bucket has events that are not delivered. The caller has locked it.
-- Parameters:
--      i_bucket    name of the table, without schema
-- Tables: pgq.delayed, pgq.delayed_state, pgq.delayed_left
-- ----------------------------------------------------------------------
declare
    state   pgq.delayed_state := pgq._delayed_state();
    result  boolean;
begin
    if state.ds_round is null then
        return true;
    end if;
    execute format('select exists (select 1 from pgq.%1$I d '
                                  'where (d.dl_due, d.dl_queue, d.dl_id) > ($1, $2, $3)) '
                   'or exists (select 1 from pgq.%1$I d where d.dl_txid >= $4) '
                   'or exists (select 1 from pgq.%1$I d where d.dl_txid = any ($5)) '
                   'or exists (select 1 from pgq.delayed_left l join pgq.%1$I d '
                                'on d.dl_queue = l.df_queue and d.dl_id = l.df_id)', i_bucket)
       into result
      using state.ds_due, state.ds_queue, state.ds_id, txid_snapshot_xmax(state.ds_snapshot),
            array(select txid_snapshot_xip(state.ds_snapshot));
    return result;
end;
$$;
comment on function pgq._has_undelivered(text) is 'true if a bucket has events to be delivered';

create or replace function pgq._deliver_one(i_row pgq.delayed)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._deliver_one(1)
--      Make a delayed event one of its queue. That of a queue that is gone is dropped.
-- Tables: pgq.queue, event tables
-- ----------------------------------------------------------------------
begin
    perform pgq.insert_event_raw(q.queue_name, i_row.dl_id, i_row.dl_time, null, null,
                                 i_row.dl_type, i_row.dl_data, i_row.dl_extra1, i_row.dl_extra2,
                                 null, null)
       from pgq.queue q
      where q.queue_id = i_row.dl_queue;
end;
$$;
comment on function pgq._deliver_one(pgq.delayed) is 'make a delayed event one of its queue';

create or replace function pgq._leave_delayed(i_row pgq.delayed, i_wait interval)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._leave_delayed(2)
--      Note a delayed event whose time is over, and that cannot be delivered now.
-- Tables: pgq.delayed_left
-- ----------------------------------------------------------------------
    insert into pgq.delayed_left (df_queue, df_id, df_due, df_again)
    values (i_row.dl_queue, i_row.dl_id, i_row.dl_due, clock_timestamp() + i_wait)
$$;
comment on function pgq._leave_delayed(pgq.delayed, interval) is
    'note a delayed event that cannot be delivered now';

create or replace function pgq._delayed_buckets()
returns text[]
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._delayed_buckets(0)
--      Names, without schema, of the buckets of delayed events that are not empty: few. What reads
--      them is made of these, since a plan for all takes longer than what it is for.
-- ----------------------------------------------------------------------
    select array(select 'delayed_' || n
                   from generate_series(0, 11) n
                  where pg_relation_size(('pgq.delayed_' || n)::regclass) > 0)
$$;
comment on function pgq._delayed_buckets() is 'buckets of delayed events that are not empty';

create or replace function pgq._due_delayed(
    i_from      pgq.delayed_state,
    i_to        pgq.delayed_state,
    i_most      integer)
returns table (place pgq.delayed, is_touched boolean, is_late boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._due_delayed(3)
--      Delayed events that lie between two states, in the order of their times; before them those
--      that were committed too late for the first state, and are due before its place.
-- Parameters:
--      i_from      the state before; NULL: nothing was delivered
--      i_to        the state after
--      i_most      of those behind the place of i_from, only so many; NULL: all
-- Returns: the events; is_touched: somebody is cancelling it, or wanted to
-- Tables: pgq.delayed
-- ----------------------------------------------------------------------
declare
    late    text;
    due     text;
begin
    -- The late ones by their transactions, which are few, and not by their times, as so many were:
    -- no index is used under "not".
    select string_agg(format(
               'select d.dl_due, d.dl_queue, d.dl_id, d::pgq.delayed as place, '
                      'd.xmax::text <> ''0'' as is_touched '
                 'from pgq.%1$I d '
                'where %2$s and not (d.dl_due, d.dl_queue, d.dl_id) > ($1, $2, $3) '
                  'and txid_visible_in_snapshot(d.dl_txid, $4)', b, c), ' union all ')
      into late
      from unnest(pgq._delayed_buckets()) b,
           unnest(array['d.dl_txid >= $5', 'd.dl_txid = any ($6)']) c;
    select string_agg(format(
               'select d.dl_due, d.dl_queue, d.dl_id, d::pgq.delayed as place, '
                      'd.xmax::text <> ''0'' as is_touched '
                 'from pgq.%1$I d '
                'where (d.dl_due, d.dl_queue, d.dl_id) > ($1, $2, $3) '
                  'and (d.dl_due, d.dl_queue, d.dl_id) <= ($4, $5, $6) '
                  'and txid_visible_in_snapshot(d.dl_txid, $7)', b), ' union all ')
      into due
      from unnest(pgq._delayed_buckets()) b;
    if due is null then
        return;
    end if;

    if i_from.ds_due is not null then
        return query
        execute format('select l.place, l.is_touched, true from (%s) l '
                       'order by l.dl_due, l.dl_queue, l.dl_id', late)
          using i_from.ds_due, i_from.ds_queue, i_from.ds_id, i_to.ds_snapshot,
                txid_snapshot_xmax(i_from.ds_snapshot),
                array(select txid_snapshot_xip(i_from.ds_snapshot));
    end if;
    if i_most = 0 then
        return;
    end if;
    return query
    execute format('select l.place, l.is_touched, false from (%s) l '
                   'order by l.dl_due, l.dl_queue, l.dl_id limit $8', due)
      using coalesce(i_from.ds_due, '-infinity'), coalesce(i_from.ds_queue, 0),
            coalesce(i_from.ds_id, 0), i_to.ds_due, i_to.ds_queue, i_to.ds_id, i_to.ds_snapshot,
            i_most;
end;
$$;
comment on function pgq._due_delayed(pgq.delayed_state, pgq.delayed_state, integer) is
    'delayed events between two states';

create or replace function pgq._deliver_due(
    in  i_from      pgq.delayed_state,
    in  i_to        pgq.delayed_state,
    in  i_most      integer,
    in  i_queue     integer,
    out moved       integer,
    out due         integer,
    out last        pgq.delayed)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._deliver_due(4)
--      Deliver the events between two states. Those that somebody is cancelling are left, and those
--      of a queue that takes none, or not many in a transaction.
-- Parameters:
--      i_from, i_to, i_most    as pgq._due_delayed(3)
--      i_queue                 of this queue only; NULL: of all
-- Returns: number of events, how many were behind the place of i_from, and the last of these
-- Tables: pgq.delayed, pgq.delayed_left, pgq.queue, event tables
-- ----------------------------------------------------------------------
declare
    message record;
    queue   record;
    id      integer;
begin
    moved := 0;
    due := 0;
    for message in select d.* from pgq._due_delayed(i_from, i_to, i_most) d loop
        if not message.is_late then
            due := due + 1;
            last := message.place;
        end if;
        continue when (message.place).dl_queue <> i_queue;
        if id is distinct from (message.place).dl_queue then
            id := (message.place).dl_queue;
            select q.queue_disable_insert or q.queue_per_tx_limit is not null as is_slow
              into queue
              from pgq.queue q
             where q.queue_id = id;
        end if;
        if message.is_touched or queue.is_slow then
            perform pgq._leave_delayed(message.place, interval '0');
        else
            perform pgq._deliver_one(message.place);
            moved := moved + 1;
        end if;
    end loop;
end;
$$;
comment on function pgq._deliver_due(pgq.delayed_state, pgq.delayed_state, integer, integer) is
    'deliver the events between two states';

create or replace function pgq.maint_delayed()
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.maint_delayed(0)
--      Make delayed events that are due events of their queues, in the order of their times, about
--      1000 of them. Call again until the result is 0. Where a queue takes none now, its events
--      wait, and those of others do not.
-- Returns: number of events
-- Errors: 25001 in repeatable read or serializable; XX001 they were sent in another cluster (see
--      pgq.rebase)
-- Locks: lock "delayed" (gives up if somebody else has it)
-- Tables: pgq.delayed, pgq.delayed_state, pgq.delayed_left, pgq.queue, event tables
-- ----------------------------------------------------------------------
declare
    most    constant integer := 1000;
    state   pgq.delayed_state;
    after   pgq.delayed_state;
    done    record;
    id      integer;
    moved   integer := 0;
    is_whole boolean := true;
begin
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        raise exception 'pgq.maint_delayed must be called in a READ COMMITTED transaction'
            using errcode = '25001',
                  hint = 'begin isolation level read committed; select pgq.maint_delayed(); '
                         'commit;';
    end if;
    if not pgq._try_lock('delayed', 0) then
        return 0;
    end if;
    state := pgq._delayed_state();
    after.ds_round := coalesce(state.ds_round, 0) + 1;
    after.ds_snapshot := txid_current_snapshot();
    after.ds_due := greatest(clock_timestamp(), state.ds_due);
    after.ds_queue := 2147483647;
    after.ds_id := 9223372036854775807;
    -- Any number may have been committed late: too many for one call wait, and a thousand at a time
    -- follow. Else a call could be over its time before its end, and be so again for ever.
    if state.ds_due is not null
       and (select count(*) from pgq._due_delayed(state, after, 0)) > most then
        perform pgq._leave_delayed(d.place, interval '0')
           from pgq._due_delayed(state, after, 0) d;
        state.ds_snapshot := after.ds_snapshot;
    end if;

    begin
        select * into done from pgq._deliver_due(state, after, most, null);
        moved := done.moved;
    exception
        when others then
            is_whole := false;
            select count(*)::integer as due, (array_agg(d.place))[count(*)] as last
              into done
              from pgq._due_delayed(state, after, most) d
             where not d.is_late;
    end;
    if done.due = most then
        after.ds_due := (done.last).dl_due;
        after.ds_queue := (done.last).dl_queue;
        after.ds_id := (done.last).dl_id;
    end if;
    if not is_whole then
        -- Some queue does not take them: each by itself.
        for id in
            select distinct (d.place).dl_queue from pgq._due_delayed(state, after, null) d
        loop
            begin
                select * into done from pgq._deliver_due(state, after, null, id);
                moved := moved + done.moved;
            exception
                when others then
                    perform pgq._leave_delayed(d.place, interval '1 second')
                       from pgq._due_delayed(state, after, null) d
                      where (d.place).dl_queue = id;
            end;
        end loop;
    end if;
    moved := moved + pgq._deliver_left();

    if state.ds_round is null then
        insert into pgq.delayed_state select (after).*;
    else
        update pgq.delayed_state s
           set ds_round = after.ds_round,
               ds_due = after.ds_due,
               ds_queue = after.ds_queue,
               ds_id = after.ds_id,
               ds_snapshot = after.ds_snapshot
         where s.ds_round = state.ds_round;
    end if;
    if moved = 0
       and (select max(d.dl_txid) from pgq.delayed d)
               > greatest(txid_current(), txid_snapshot_xmax(txid_current_snapshot())) then
        raise exception 'delayed events are of transactions that are yet to come'
            using errcode = 'XX001',
                  hint = 'If the database was restored from a dump, call pgq.rebase().';
    end if;
    return moved;
end;
$$;
comment on function pgq.maint_delayed() is
    'make delayed events that are due events of their queues; call again until 0';
