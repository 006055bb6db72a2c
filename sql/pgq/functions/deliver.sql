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

create or replace function pgq._late_delayed(i_from pgq.delayed_state)
returns table (place pgq.delayed, is_touched boolean)
language sql
stable
rows 10
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._late_delayed(1)
--      Delayed events that were committed after a state, and are due before its place.
-- Parameters:
--      i_from      the state
-- Returns: the events; is_touched: somebody is cancelling it, or wanted to
-- Tables: pgq.delayed
-- ----------------------------------------------------------------------
    -- By their transactions, which are few: not by their times, as so many were.
    select l.place, l.is_touched
      from (select d as place, d.xmax::text <> '0' as is_touched
              from pgq.delayed d
             where d.dl_txid >= txid_snapshot_xmax(i_from.ds_snapshot)
             union all
            select d, d.xmax::text <> '0'
              from pgq.delayed d
             where d.dl_txid = any (array(select txid_snapshot_xip(i_from.ds_snapshot)))
            offset 0) l
     where ((l.place).dl_due, (l.place).dl_queue, (l.place).dl_id)
           <= (i_from.ds_due, i_from.ds_queue, i_from.ds_id)
$$;
comment on function pgq._late_delayed(pgq.delayed_state) is
    'delayed events that were committed too late for a state';

create or replace function pgq._due_delayed(
    i_from      pgq.delayed_state,
    i_to        pgq.delayed_state,
    i_most      integer)
returns table (place pgq.delayed, is_touched boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._due_delayed(3)
--      Delayed events that lie between two states, in the order of their times.
-- Parameters:
--      i_from      the state before; NULL: nothing was delivered
--      i_to        the state after
--      i_most      of those behind the place of i_from, only so many; NULL: all. Those that were
--                  committed too late to be delivered before it are always all given.
-- Returns: the events; is_touched: somebody is cancelling it, or wanted to
-- Tables: pgq.delayed
-- ----------------------------------------------------------------------
begin
    if i_from.ds_due is not null then
        return query
        select late.place, late.is_touched
          from pgq._late_delayed(i_from) late
         where txid_visible_in_snapshot((late.place).dl_txid, i_to.ds_snapshot)
         order by (late.place).dl_due, (late.place).dl_queue, (late.place).dl_id;
    end if;
    return query
    select d, d.xmax::text <> '0'
      from pgq.delayed d
     where (d.dl_due, d.dl_queue, d.dl_id)
           > (coalesce(i_from.ds_due, '-infinity'), coalesce(i_from.ds_queue, 0),
              coalesce(i_from.ds_id, 0))
       and (d.dl_due, d.dl_queue, d.dl_id) <= (i_to.ds_due, i_to.ds_queue, i_to.ds_id)
       and txid_visible_in_snapshot(d.dl_txid, i_to.ds_snapshot)
     order by d.dl_due, d.dl_queue, d.dl_id
     limit i_most;
end;
$$;
comment on function pgq._due_delayed(pgq.delayed_state, pgq.delayed_state, integer) is
    'delayed events between two states';

create or replace function pgq._deliver_due(
    i_from      pgq.delayed_state,
    i_to        pgq.delayed_state,
    i_queue     integer)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._deliver_due(3)
--      Deliver the events between two states. Those that somebody is cancelling are left, and those
--      of a queue that takes none, or not many in a transaction.
-- Parameters:
--      i_from, i_to    the states
--      i_queue         of this queue only; NULL: of all
-- Returns: number of events
-- Tables: pgq.delayed, pgq.delayed_left, pgq.queue, event tables
-- ----------------------------------------------------------------------
declare
    message record;
    moved   integer := 0;
begin
    for message in
        select d.place, d.is_touched,
               q.queue_disable_insert or q.queue_per_tx_limit is not null as is_slow
          from pgq._due_delayed(i_from, i_to, null) d
          left join pgq.queue q on q.queue_id = (d.place).dl_queue
         where (d.place).dl_queue = i_queue or i_queue is null
         order by (d.place).dl_due, (d.place).dl_queue, (d.place).dl_id
    loop
        if message.is_touched or message.is_slow then
            perform pgq._leave_delayed(message.place, interval '0');
        else
            perform pgq._deliver_one(message.place);
            moved := moved + 1;
        end if;
    end loop;
    return moved;
end;
$$;
comment on function pgq._deliver_due(pgq.delayed_state, pgq.delayed_state, integer) is
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
    last    record;
    id      integer;
    moved   integer := 0;
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
    if (select max(d.dl_txid) from pgq.delayed d)
           > greatest(txid_current(), txid_snapshot_xmax(txid_current_snapshot())) then
        raise exception 'delayed events are of transactions that are yet to come'
            using errcode = 'XX001',
                  hint = 'If the database was restored from a dump, call pgq.rebase().';
    end if;

    -- Where the first thousand ends.
    select (d.place).dl_due as due, (d.place).dl_queue as queue, (d.place).dl_id as id
      into last
      from pgq._due_delayed(state, after, most) d
     where ((d.place).dl_due, (d.place).dl_queue, (d.place).dl_id)
           > (coalesce(state.ds_due, '-infinity'), coalesce(state.ds_queue, 0),
              coalesce(state.ds_id, 0))
     order by (d.place).dl_due, (d.place).dl_queue, (d.place).dl_id
    offset most - 1;
    if found then
        after.ds_due := last.due;
        after.ds_queue := last.queue;
        after.ds_id := last.id;
    end if;

    begin
        moved := pgq._deliver_due(state, after, null);
    exception
        when others then
            -- Some queue does not take them: each by itself.
            for id in
                select distinct (d.place).dl_queue from pgq._due_delayed(state, after, null) d
            loop
                begin
                    moved := moved + pgq._deliver_due(state, after, id);
                exception
                    when others then
                        perform pgq._leave_delayed(d.place, interval '1 second')
                           from pgq._due_delayed(state, after, null) d
                          where (d.place).dl_queue = id;
                end;
            end loop;
    end;
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
    return moved;
end;
$$;
comment on function pgq.maint_delayed() is
    'make delayed events that are due events of their queues; call again until 0';

create or replace function pgq._next_delayed()
returns timestamptz
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._next_delayed(0)
--      When pgq.maint_delayed() has something to do, as far as that can be seen now.
-- Returns: the time, which may be over; NULL: there are no delayed events
-- Tables: pgq.delayed, pgq.delayed_state, pgq.delayed_left
-- ----------------------------------------------------------------------
declare
    state   pgq.delayed_state := pgq._delayed_state();
    due     timestamptz;
begin
    if state.ds_due is not null and exists (select pgq._late_delayed(state)) then
        return state.ds_due;
    end if;
    select d.dl_due
      into due
      from pgq.delayed d
     where (d.dl_due, d.dl_queue, d.dl_id)
           > (coalesce(state.ds_due, '-infinity'), coalesce(state.ds_queue, 0),
              coalesce(state.ds_id, 0))
     order by d.dl_due, d.dl_queue, d.dl_id
     limit 1;
    return least(due, (select min(l.df_again) from pgq.delayed_left l));
end;
$$;
comment on function pgq._next_delayed() is 'when a delayed event is due';

create or replace function pgq._deliver_in_passing()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._deliver_in_passing(0)
--      Deliver delayed events that are due, for who has something else to do, which goes on if that
--      fails: pgq.ticker(), where no worker runs.
-- Tables: as pgq.maint_delayed(0)
-- ----------------------------------------------------------------------
begin
    if current_setting('transaction_isolation') in ('read committed', 'read uncommitted')
       and pgq._next_delayed() <= clock_timestamp() then
        perform pgq.maint_delayed();
    end if;
exception
    when others then
        raise warning 'delayed events: %', sqlerrm
            using hint = 'Call pgq.maint_delayed() to see more.';
end;
$$;
comment on function pgq._deliver_in_passing() is 'deliver delayed events that are due, in passing';
