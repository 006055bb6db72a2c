create or replace function pgq._due_queues()
returns setof integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
-- as for pgq._tick
set enable_bitmapscan = off
set enable_sort = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._due_queues(0)
--      Queues in which a tick may be due: the rules of pgq._tick for all queues at once. It says
--      yes where only a look into the event tables can tell, or where something looks wrong. For
--      the worker.
-- Returns: ids of queues
-- Tables: pgq.queue, pgq.tick, event sequences
-- ----------------------------------------------------------------------
begin
    return query
    select x.queue_id
      from (select q.queue_id, q.queue_ticker_max_count, q.queue_ticker_max_lag,
                   q.queue_ticker_idle_period,
                   pgq._sequence_value(q.queue_id, q.queue_event_seq) as value,
                   greatest(now() - l.tick_time, l.tick_time - now()) as lag,
                   l.tick_id, l.tick_time, l.tick_event_seq, l.tick_snapshot, l.stored
              from pgq.queue q
              left join lateral (
                       select t.*, t.xmin as stored
                         from pgq.tick t
                        where t.tick_queue = q.queue_id
                        order by t.tick_id desc
                        limit 1) l on true
             where not q.queue_external_ticker
               and not q.queue_ticker_paused
            -- the sequence is read once, not wherever its value is used
            offset 0) x
     where case
               when x.lag < x.queue_ticker_max_lag / 2
                    and coalesce(x.value, 1) = x.tick_event_seq
                    and x.queue_ticker_max_count > 1
                   then x.tick_id = 1
               when x.tick_event_seq is null or coalesce(x.value, 1) < x.tick_event_seq
                   then true
               when coalesce(x.value, 1) > x.tick_event_seq
                   then coalesce(x.value, 1) - x.tick_event_seq >= x.queue_ticker_max_count
                        or x.lag >= x.queue_ticker_max_lag
               when (x.lag >= x.queue_ticker_max_lag or x.queue_ticker_max_count <= 1)
                    and (x.value = 1
                         or pgq._has_ended(x.tick_snapshot)
                         or (x.lag < x.queue_ticker_max_lag + interval '10 seconds'
                             and pgq._full_xid(x.stored, txid_snapshot_xmax(x.tick_snapshot))
                                 > txid_snapshot_xmax(x.tick_snapshot)))
                   then true
               when x.lag < x.queue_ticker_max_lag / 2
                   then x.tick_id = 1
               else coalesce(
                        x.lag >= x.queue_ticker_idle_period
                        or x.lag >= 2 * (x.tick_time - (
                               select p.tick_time
                                 from pgq.tick p
                                where p.tick_queue = x.queue_id
                                  and p.tick_id < x.tick_id
                                order by p.tick_id desc
                                limit 1)),
                        true)
           end;
end;
$$;
comment on function pgq._due_queues() is 'queues in which a tick may be due';

create or replace function pgq._has_ended(i_snapshot txid_snapshot)
returns boolean
language sql
stable
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._has_ended(1)
--      True if a transaction has ended that was in progress in the snapshot.
-- ----------------------------------------------------------------------
    select exists (
        select 1
          from pg_catalog.txid_snapshot_xip($1) x
         where pg_catalog.txid_visible_in_snapshot(x, pg_catalog.txid_current_snapshot()))
$$;
comment on function pgq._has_ended(txid_snapshot) is
    'true if a transaction has ended that was in progress in the snapshot';

create or replace function pgq._tick(i_queue_id integer, i_demand boolean)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
-- through the primary key, also with a plan that was made when pgq.tick was small
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._tick(2)
--      Decide whether a queue gets a tick now, and lay it. The caller has the queue's ticker lock,
--      taken in an earlier statement.
--
--      By rule: the first and second tick at once; with new events, when there are ticker_max_count
--      of them or the newest tick is ticker_max_lag old; without, in doubling intervals up to
--      ticker_idle_period. The distance of sequence values tells how many events are new, except in
--      two cases, where it looks for one: events that got their ids before the last tick and were
--      committed after it, and the first event ever, since the sequence says 1 before it and after
--      it.
-- Parameters:
--      i_queue_id  id of the queue
--      i_demand    true: not by rule, but exactly if a committed event waits for a tick
-- Returns: id of the newest tick laid, or NULL
-- Errors: XX001 the newest tick is of another cluster
-- ----------------------------------------------------------------------
declare
    queue   record;
    last    record;
    seq     bigint;
    fresh   bigint;
    lag     interval;
    due     boolean;
begin
    -- The sequence first: events that it counts and the snapshot does not see yet are counted in
    -- vain, not missed.
    select q.*, pgq._last_value(pgq._own_sequence(q.queue_id, q.queue_event_seq)) as seq
      into queue
      from pgq.queue q
     where q.queue_id = i_queue_id;
    -- The caller has looked before it waited for the lock; meanwhile the queue may have become
    -- another node's branch.
    if not found or queue.queue_external_ticker then
        return null;
    end if;
    seq := coalesce(queue.seq, 1);

    -- The snapshot that the tick gets is the one that sees the newest tick.
    select s.snapshot, l.tick_id, l.tick_time, l.tick_snapshot, l.tick_event_seq, l.stored,
           (select p.tick_time
              from pgq.tick p
             where p.tick_queue = i_queue_id
               and p.tick_id < l.tick_id
             order by p.tick_id desc
             limit 1) as before
      into last
      from (select txid_current_snapshot() as snapshot) s
      left join lateral (
               select t.*, t.xmin as stored
                 from pgq.tick t
                where t.tick_queue = i_queue_id
                order by t.tick_id desc
                limit 1) l on true;

    if last.tick_id is null then
        return pgq._add_tick(queue.queue_id, queue.queue_tick_seq, last.snapshot, seq);
    end if;

    if pgq._is_foreign_tick(last.tick_snapshot, last.stored, last.snapshot) then
        -- A tick now would skip events of transactions that the newest tick takes for finished.
        if txid_snapshot_xmin(last.tick_snapshot) <= txid_current()
           and txid_snapshot_xmax(last.tick_snapshot) > txid_current() then
            raise warning 'Dubious PgQ state: old xmax=%, cur txid=%',
                          txid_snapshot_xmax(last.tick_snapshot), txid_current()
                using hint = 'If the database was restored from a dump, call pgq.rebase().';
            return null;
        end if;
        raise exception 'Invalid PgQ state: old xmin=%, old xmax=%, cur txid=%',
                        txid_snapshot_xmin(last.tick_snapshot),
                        txid_snapshot_xmax(last.tick_snapshot), txid_current()
            using errcode = 'XX001',
                  hint = 'If the database was restored from a dump, call pgq.rebase().';
    end if;
    if queue.queue_switch_step1 > txid_snapshot_xmax(last.snapshot)
       and queue.queue_switch_step1 is distinct from txid_current_if_assigned() then
        raise exception 'Invalid PgQ state: step1=%, cur txid=%', queue.queue_switch_step1,
                        txid_current()
            using errcode = 'XX001',
                  hint = 'If the database was restored from a dump, call pgq.rebase().';
    end if;

    -- In these transactions the snapshot is older than the lock.
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
       and pgq._has_unseen_tick(queue.queue_id, queue.queue_tick_seq, last.tick_id) then
        return null;
    end if;

    fresh := seq - last.tick_event_seq;
    if fresh < 0 then
        raise warning 'Negative new_events?  old=% cur=%', last.tick_event_seq, seq;
    end if;
    -- Also for a tick of a time to come: the clock was set back.
    lag := greatest(now() - last.tick_time, last.tick_time - now());

    if i_demand then
        due := pgq._has_waiting(i_queue_id, last.tick_snapshot, last.snapshot);
    else
        if fresh = 0
           and (lag >= queue.queue_ticker_max_lag or queue.queue_ticker_max_count <= 1)
           and (queue.seq = 1
                or pgq._has_ended(last.tick_snapshot)
                -- Transactions that were in progress and are not in the snapshot: their ids lie
                -- between its end and the tick's own. Looked for in the first seconds only, since
                -- this is so in every busy database.
                or (lag < queue.queue_ticker_max_lag + interval '10 seconds'
                    and pgq._full_xid(last.stored, txid_snapshot_xmax(last.tick_snapshot))
                        > txid_snapshot_xmax(last.tick_snapshot)))
           and pgq._has_waiting(i_queue_id, last.tick_snapshot, last.snapshot) then
            fresh := 1;
        end if;
        if fresh > 0 then
            due := fresh >= queue.queue_ticker_max_count or lag >= queue.queue_ticker_max_lag;
        elsif last.before is null then
            due := true;
        else
            due := not (lag < queue.queue_ticker_max_lag / 2
                        or (lag < 2 * (last.tick_time - last.before)
                            and lag < queue.queue_ticker_idle_period));
        end if;
    end if;

    if not due then
        return null;
    end if;
    return pgq._lay_ticks(i_queue_id, last.tick_id, last.snapshot, seq);
end;
$$;
comment on function pgq._tick(integer, boolean) is
    'decide whether a queue gets a tick now, and lay it';

create or replace function pgq._add_tick(
    i_queue_id  integer,
    i_tick_seq  text,
    i_snapshot  txid_snapshot,
    i_event_seq bigint)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._add_tick(4)
--      Add a row to pgq.tick, with the next tick id. Its transaction is to be durable once it is
--      committed: a consumer elsewhere may have noted the tick's id, which after a crash would be
--      given to another tick.
-- Returns: id of the tick
-- ----------------------------------------------------------------------
declare
    id bigint;
begin
    insert into pgq.tick (tick_queue, tick_id, tick_time, tick_snapshot, tick_event_seq)
    values (i_queue_id, nextval(pgq._own_sequence(i_queue_id, i_tick_seq)), now(), i_snapshot,
            i_event_seq)
    returning tick_id
         into id;
    if current_setting('synchronous_commit') = 'off' then
        perform set_config('synchronous_commit', 'local', true);
    end if;
    return id;
end;
$$;
comment on function pgq._add_tick(integer, text, txid_snapshot, bigint) is 'add a row to pgq.tick';

create or replace function pgq._has_unseen_tick(
    i_queue_id  integer,
    i_tick_seq  text,
    i_last_tick bigint)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._has_unseen_tick(3)
--      True if a newer tick is committed than this transaction's snapshot shows. Ids above the
--      newest tick that is visible are either lost to a rollback or taken by such ticks; the
--      primary key knows.
-- Parameters: the queue, its tick sequence, newest visible tick
-- Returns: true if there is one, or if there may be one
-- ----------------------------------------------------------------------
declare
    value bigint := pg_sequence_last_value(pgq._own_sequence(i_queue_id, i_tick_seq));
begin
    if value <= i_last_tick then
        return false;
    end if;
    if value > i_last_tick + 1000 then
        return true;
    end if;
    begin
        insert into pgq.tick (tick_queue, tick_id, tick_event_seq)
        select i_queue_id, n, 0 from generate_series(i_last_tick + 1, value) n;
        raise exception using errcode = 'PQ001';
    exception
        when sqlstate 'PQ001' then
            return false;
        when unique_violation then
            return true;
    end;
end;
$$;
comment on function pgq._has_unseen_tick(integer, text, bigint) is
    'true if a newer tick is committed than the snapshot shows';
