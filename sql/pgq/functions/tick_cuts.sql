create or replace function pgq._waiting_sql(i_queue_id integer, i_prev txid_snapshot)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._waiting_sql(2)
--      Query for the events that are committed and not covered by a tick.
-- Parameters:
--      i_queue_id  id of the queue
--      i_prev      snapshot of the newest tick
-- Returns: text of a query with the columns ev_txid, ev_id and is_current (in the current table);
--      its parameter $1 is the present snapshot, $2 the end of i_prev and $3 the transactions in
--      progress in i_prev
-- ----------------------------------------------------------------------
begin
    -- PL/pgSQL keeps the plan, which takes longer to make than to run.
    return (
        select string_agg(
                   format('select e.ev_txid, e.ev_id, %s as is_current from %s e'
                          ' where e.ev_txid %s and pg_catalog.txid_visible_in_snapshot(e.ev_txid, '
                          '$1)',
                          t.is_current::text, pgq._event_table(q.queue_data_pfx || '_' || t.number),
                          r.condition),
                   E'\nunion all\n')
          from pgq.queue q,
               lateral (
                   select q.queue_cur_table as number, true as is_current
                    union all
                   select (q.queue_cur_table + q.queue_ntables - 1) % q.queue_ntables, false
                    where q.queue_ntables > 1
                      and not coalesce(txid_snapshot_xmin(i_prev) > q.queue_switch_step2, false)) t,
               lateral (
                   select '>= $2' as condition
                    union all
                   select '= any ($3)'
                    where txid_snapshot_xmin(i_prev) < txid_snapshot_xmax(i_prev)) r
         where q.queue_id = i_queue_id);
end;
$$;
comment on function pgq._waiting_sql(integer, txid_snapshot) is
    'query for the events that no tick covers';

create or replace function pgq._find_waiting(i_queue_id integer, i_prev text, i_now text)
returns boolean
language c
strict
-- ----------------------------------------------------------------------
-- Function: pgq._find_waiting(3)
--      As pgq._has_waiting, straight from the event tables' indexes, and done at the first event
--      found.
-- Returns: NULL if there is no such queue, or if an event table is not as pgq.create_queue makes it
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_find_waiting';
comment on function pgq._find_waiting(integer, text, text) is
    'true if an event waits for a tick, by index';

create or replace function pgq._has_waiting(
    i_queue_id  integer,
    i_prev      txid_snapshot,
    i_now       txid_snapshot)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._has_waiting(3)
--      True if there is an event that the snapshot i_now sees and i_prev does not.
-- ----------------------------------------------------------------------
declare
    result boolean := pgq._find_waiting(i_queue_id, i_prev::text, i_now::text);
begin
    if result is null then
        execute 'select exists (' || pgq._waiting_sql(i_queue_id, i_prev) || ')'
           into result
          using i_now, txid_snapshot_xmax(i_prev), array(select txid_snapshot_xip(i_prev));
    end if;
    return result;
end;
$$;
comment on function pgq._has_waiting(integer, txid_snapshot, txid_snapshot) is
    'true if an event waits for a tick';

create or replace function pgq._lay_ticks(
    i_queue_id  integer,
    i_prev_tick bigint,
    i_now       txid_snapshot,
    i_event_seq bigint)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
-- as for pgq._tick; but sorting is what one of the queries is for
set enable_seqscan = off
set enable_bitmapscan = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._lay_ticks(4)
--      Lay a tick with the snapshot i_now, and before it as many as are needed so that no two
--      neighbours have more than batch_max_count events between them, unless one transaction alone
--      has more.
--
--      A tick in between needs no snapshot of the past. Waiting transactions are taken in the order
--      of their ids; the snapshot that sees those up to a transaction T, and none after it, is: end
--      at T + 1, but not before the end of the newest tick's snapshot; in progress below that is
--      what is so now, and what comes after T in the order. Each such snapshot sees all that the
--      one before it sees.
--
--      Readers take it that a snapshot that ends before step 1 of the last rotation sees nothing of
--      the current table. That is true of snapshots that were taken, so it must be of these: a
--      transaction that is older than step 1 and has written to the current table comes as late in
--      the order as step 1.
-- Parameters:
--      i_queue_id  id of the queue
--      i_prev_tick id of the newest tick
--      i_now       present snapshot
--      i_event_seq value of the event sequence for the last tick
-- Returns: id of the last tick
-- ----------------------------------------------------------------------
declare
    queue       pgq.queue;
    prev        pgq.tick;
    known       bigint;
    edge        bigint;
    running     bigint[];
    waiting     text;
    late        bigint[] := '{}';
    tx          record;
    last_pos    bigint;
    last_tx     bigint;
    fill        bigint := 0;
    seq         bigint;
begin
    select * into queue from pgq.queue q where q.queue_id = i_queue_id;
    select * into prev from pgq.tick t where t.tick_queue = i_queue_id and t.tick_id = i_prev_tick;

    -- Mostly sequence values prove that there is nothing to divide: transactions that the newest
    -- tick does not see began after a tick that ends below them all, so their events have ids above
    -- its value.
    select k.tick_event_seq
      into known
      from (select *
              from pgq.tick t
             where t.tick_queue = i_queue_id
               and t.tick_id <= i_prev_tick
             order by t.tick_id desc
             limit 20) k
     where txid_snapshot_xmax(k.tick_snapshot) <= txid_snapshot_xmin(prev.tick_snapshot)
     order by k.tick_id desc
     limit 1;

    if i_event_seq - known + 1 > queue.queue_batch_max_count or known is null then
        waiting := pgq._waiting_sql(i_queue_id, prev.tick_snapshot);
        edge := txid_snapshot_xmax(prev.tick_snapshot);
        running := array(select txid_snapshot_xip(prev.tick_snapshot));
        if edge <= queue.queue_switch_step1 then
            execute 'select coalesce(array_agg(distinct w.ev_txid), ''{}'') from (' || waiting
                    || ') w'
                    ' where w.is_current and w.ev_txid <= $4'
               into late
              using i_now, edge, running, queue.queue_switch_step1;
        end if;

        seq := prev.tick_event_seq;
        for tx in
            execute 'select case when w.ev_txid = any ($4) then $5 else w.ev_txid end as pos, '
                    'w.ev_txid,'
                    ' count(*) as events, max(w.ev_id) as last_id from (' || waiting || ') w'
                    ' group by 1, 2 order by 1, 2'
              using i_now, edge, running, late, queue.queue_switch_step1
        loop
            if fill > 0 and fill + tx.events > queue.queue_batch_max_count then
                perform pgq._add_tick(
                    i_queue_id, queue.queue_tick_seq,
                    pgq._cut_snapshot(
                        i_now, greatest(edge, last_pos + 1),
                        array(select x from unnest(running) x where x > last_pos)
                        || array(select x
                                   from unnest(late) x
                                  where (queue.queue_switch_step1, x) > (last_pos, last_tx))),
                    least(seq, i_event_seq));
                fill := 0;
            end if;
            fill := fill + tx.events;
            seq := greatest(seq, tx.last_id);
            last_pos := tx.pos;
            last_tx := tx.ev_txid;
        end loop;
    end if;

    return pgq._add_tick(i_queue_id, queue.queue_tick_seq, i_now, i_event_seq);
end;
$$;
comment on function pgq._lay_ticks(integer, bigint, txid_snapshot, bigint) is
    'lay a tick, and those before it that batch_max_count needs';

create or replace function pgq._cut_snapshot(i_now txid_snapshot, i_end bigint, i_later bigint[])
returns txid_snapshot
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._cut_snapshot(3)
--      Snapshot that ends at i_end and sees what i_now sees below it, without the transactions
--      i_later.
-- ----------------------------------------------------------------------
    select (coalesce(min(p.x), i_end) || ':' || i_end || ':'
            || coalesce(string_agg(p.x::text, ',' order by p.x), ''))::txid_snapshot
      from (select x from txid_snapshot_xip(i_now) x where x < i_end
             union
            select x from unnest(i_later) x where x < i_end) p
$$;
comment on function pgq._cut_snapshot(txid_snapshot, bigint, bigint[]) is
    'snapshot that ends earlier and sees less';
