-- A dump carries transaction ids of the cluster it was made in: in events, in the snapshots of
-- ticks, in the state of rotation. In a cluster that has given out more ids than those they are
-- just the past. In a cluster that has given out fewer they are the future, and mean nothing.
-- pgq.rebase() moves them into this cluster's past.

create or replace function pgq.rebase()
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.rebase(0)
--      After a dump was restored: make transaction ids of another cluster into ids of this one, in
--      every queue that has such. Which events lie between which ticks, what each consumer still
--      gets, and open batches stay as they are; events that no tick covers, and those inserted
--      since the restore, come with the next tick. Also sets the sequences of ids forward that the
--      dump did not include. Harmless where there is nothing to do.
-- Returns: number of queues that were changed
-- Errors: 25001 not in a READ COMMITTED transaction
-- Locks: ticker and rotation locks of the queues that are changed, rows of the queues and all they
--      contain
-- Tables: pgq.queue, pgq.tick, pgq.consumer, pgq.subscription, event tables
-- ----------------------------------------------------------------------
declare
    id  integer;
    n   integer := 0;
begin
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        raise exception 'pgq.rebase must be called in a READ COMMITTED transaction'
            using errcode = '25001',
                  hint = 'begin isolation level read committed; select pgq.rebase(); commit;';
    end if;

    for id in
        select q.queue_id from pgq.queue q order by q.queue_id
    loop
        if pgq._is_foreign(id) then
            perform pgq._lock('ticks', id);
            perform pgq._lock('rotation', id);
            if pgq._is_foreign(id) then
                perform pgq._rebase_queue(id);
                n := n + 1;
            end if;
        end if;
        perform pgq._forward_sequences(id);
    end loop;

    perform pgq._rebase_delayed();
    perform pgq.seq_setval('pgq.queue_queue_id_seq', (select max(q.queue_id) from pgq.queue q));
    perform pgq.seq_setval('pgq.consumer_co_id_seq', (select max(c.co_id) from pgq.consumer c));
    perform pgq.seq_setval('pgq.subscription_sub_id_seq', greatest(
        (select max(s.sub_id) from pgq.subscription s),
        (select max(r.ev_owner) from pgq.retry_queue r),
        (select max(e.ev_owner) from pgq.event_template e)));
    return n;
end;
$$;
comment on function pgq.rebase() is
    'after a dump was restored: move transaction ids of another cluster into this one''s past';

create or replace function pgq._rebase_delayed()
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._rebase_delayed(0)
--      Make transaction ids in delayed events, which a dump brings as far as they were not
--      delivered, into ids of this cluster.
-- Locks: lock "delayed"
-- Tables: pgq.delayed
-- ----------------------------------------------------------------------
declare
    newest  bigint := greatest(txid_current(), txid_snapshot_xmax(txid_current_snapshot()));
begin
    if exists (select 1 from pgq.delayed d where d.dl_txid > newest) then
        perform pgq._lock('delayed', 0);
        update pgq.delayed d
           set dl_txid = txid_current()
         where d.dl_txid > newest;
    end if;
end;
$$;
comment on function pgq._rebase_delayed() is
    'make transaction ids in delayed events into ids of this cluster';

create or replace function pgq._live_tables(i_queue_id integer)
returns setof text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._live_tables(1)
--      Event tables that batches are read from: the current and the previous one.
-- Returns: quoted names
-- ----------------------------------------------------------------------
    select distinct pgq._event_table(q.queue_data_pfx || '_' || n)::text
      from pgq.queue q,
           unnest(array[q.queue_cur_table,
                        (q.queue_cur_table + q.queue_ntables - 1) % q.queue_ntables]) n
     where q.queue_id = i_queue_id
$$;
comment on function pgq._live_tables(integer) is 'event tables that batches are read from';

create or replace function pgq._is_foreign(i_queue_id integer)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._is_foreign(1)
--      True if a queue contains transaction ids that this cluster has not given out yet.
-- ----------------------------------------------------------------------
declare
    tab     text;
    result  boolean;
begin
    select exists (
               select 1
                 from pgq.tick t
                where t.tick_queue = i_queue_id
                  and pgq._is_foreign_tick(t.tick_snapshot, t.xmin, txid_current_snapshot()))
           or exists (
               select 1
                 from pgq.queue q
                where q.queue_id = i_queue_id
                  and greatest(q.queue_switch_step1, q.queue_switch_step2)
                      > greatest(txid_current(), txid_snapshot_xmax(txid_current_snapshot())))
      into result;
    if result then
        return true;
    end if;

    for tab in
        select t from pgq._live_tables(i_queue_id) t
    loop
        execute format('select max(e.ev_txid) > greatest(txid_current(), '
                       'txid_snapshot_xmax(txid_current_snapshot()))'
                       ' from %s e', tab)
           into result;
        if result then
            return true;
        end if;
    end loop;
    return false;
end;
$$;
comment on function pgq._is_foreign(integer) is
    'true if a queue contains transaction ids of another cluster';

create or replace function pgq._restored_by(i_queue_id integer, i_now txid_snapshot)
returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._restored_by(2)
--      Transactions of this cluster that brought events here from a dump. An event says which
--      transaction made it (ev_txid), its row says which stored it (xmin). For an event made here,
--      these are the same, or the latter is a savepoint of the former and follows it. A restore
--      stores many transactions' events in one.
-- Parameters:
--      i_queue_id  id of the queue
--      i_now       present snapshot
-- Returns: transaction ids with epoch
-- ----------------------------------------------------------------------
declare
    seq     bigint;
    tab     text;
    part    bigint[];
    result  bigint[];
begin
    -- New events have ids above what the newest tick of the dump had counted.
    select max(t.tick_event_seq)
      into seq
      from pgq.tick t
     where t.tick_queue = i_queue_id
       and pgq._is_foreign_tick(t.tick_snapshot, t.xmin, i_now);
    result := array(
        select distinct pgq._full_xid(t.xmin, txid_snapshot_xmax(i_now))
          from pgq.tick t
         where t.tick_queue = i_queue_id
           and pgq._is_foreign_tick(t.tick_snapshot, t.xmin, i_now));

    for tab in
        select t from pgq._live_tables(i_queue_id) t
    loop
        execute format('select array_agg(r.stored) from ('
                       ' select x.stored from ('
                       '  select pgq._full_xid(e.xmin, $1) as stored, e.ev_txid, e.ev_id, '
                       'e.ev_retry from %s e) x'
                       ' group by x.stored'
                       ' having count(distinct x.ev_txid) > 1'
                       ' or bool_or(x.ev_txid > x.stored)'
                       ' or bool_or(x.ev_txid < x.stored and x.ev_retry is null and x.ev_id <= '
                       '$2)) r', tab)
           into part
          using txid_snapshot_xmax(i_now), seq;
        result := result || part;
    end loop;
    return result;
end;
$$;
comment on function pgq._restored_by(integer, txid_snapshot) is
    'transactions of this cluster that brought events here from a dump';

create or replace function pgq._rebase_queue(i_queue_id integer)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._rebase_queue(1)
--      Give a queue transaction ids of this cluster. With ticks 1 to n, ids u(0) < ... < u(n) are
--      chosen that this cluster has given out and that are not in progress. The snapshot of tick k
--      ends at u(k) and sees all that is not in progress now; events that tick k is the first to
--      see get u(k - 1). Those that no tick sees get u(n) and following ids, so many to each that
--      batch_max_count can be kept. Transactions that are in progress stay unseen by all ticks, so
--      what they have inserted, and what is inserted later, comes with the next tick. The caller
--      has the queue's ticker and rotation locks.
-- ----------------------------------------------------------------------
declare
    queue           pgq.queue;
    own             bigint := txid_current();
    present         txid_snapshot;
    ticks           bigint[];
    snaps           txid_snapshot[];
    storers         xid[];
    n_ticks         integer;
    groups          bigint;
    part            bigint := 0;
    fill            bigint := 0;
    ids             bigint[];
    last_foreign    integer;
    restored        bigint[];
    tables          text[];
    tx              record;
    first           integer := 1;
    class           integer;
    before          integer;
    low             bigint[] := '{}';
    high            bigint[] := '{}';
    value           bigint[] := '{}';
    fresh           boolean[] := '{}';
    ranges          integer := 0;
    identity        text;
begin
    select * into queue from pgq.queue q where q.queue_id = i_queue_id for no key update;
    select array_agg(t.tick_id order by t.tick_id), array_agg(t.tick_snapshot order by t.tick_id),
           array_agg(t.xmin order by t.tick_id), count(*)
      into ticks, snaps, storers, n_ticks
      from pgq.tick t
     where t.tick_queue = i_queue_id;

    -- Any two groups of events that no tick covers are together more than a batch.
    tables := array(select pgq._live_tables(i_queue_id));
    execute (select 'select sum(c) from ('
             || string_agg(format('select count(*) as c from %s', t), ' union all ') || ') x'
               from unnest(tables) t)
       into groups;
    groups := least(groups * 2 / queue.queue_batch_max_count + 1, 10000);

    -- The ids first: whatever is in progress when they are known must not be seen by any tick.
    ids := pgq._past_ids(i_queue_id, n_ticks + groups);
    present := txid_current_snapshot();
    select coalesce(max(s.place), 0)
      into last_foreign
      from unnest(snaps, storers) with ordinality s (snapshot, stored, place)
     where pgq._is_foreign_tick(s.snapshot, s.stored, present);
    restored := pgq._restored_by(i_queue_id, present);

    -- For each transaction, oldest first: which tick is the first to see it. Neighbours of one
    -- class make a range.
    for tx in
        execute 'select x.ev_txid, not (x.stored = any ($1)) as is_new, count(*) as events from ('
                || (select string_agg(format('select e.ev_txid, pgq._full_xid(e.xmin, $2) as '
                                             'stored from %s e', t), ' union all ')
                      from unnest(tables) t)
                || ') x group by 1, 2 order by 2, 1'
          using restored, txid_snapshot_xmax(present)
    loop
        if tx.is_new then
            class := last_foreign + 1;
        else
            while first <= n_ticks and txid_snapshot_xmax(snaps[first]) <= tx.ev_txid loop
                first := first + 1;
            end loop;
            class := first;
        end if;
        while class <= n_ticks and not txid_visible_in_snapshot(tx.ev_txid, snaps[class]) loop
            class := class + 1;
        end loop;
        if class > n_ticks then
            if fill > 0 and fill + tx.events > queue.queue_batch_max_count
               and part < groups - 1 then
                part := part + 1;
                fill := 0;
            end if;
            fill := fill + tx.events;
            class := n_ticks + 1 + part;
        end if;

        if ranges > 0 and before = class and fresh[ranges] = tx.is_new then
            high[ranges] := tx.ev_txid;
        else
            ranges := ranges + 1;
            low[ranges] := tx.ev_txid;
            high[ranges] := tx.ev_txid;
            value[ranges] := ids[class];
            fresh[ranges] := tx.is_new;
            before := class;
        end if;
    end loop;

    for i in 1 .. cardinality(tables) loop
        identity := pgq._allow_update(tables[i]::regclass);
        execute format('update %s e set ev_txid = r.value from unnest($1, $2, $3, $4) r (low, '
                       'high, value, is_new)'
                       ' where e.ev_txid between r.low and r.high'
                       ' and r.is_new = (not (pgq._full_xid(e.xmin, $6) = any ($5)))', tables[i])
          using low, high, value, fresh, restored, txid_snapshot_xmax(present);
        if identity is not null then
            execute format('alter table %s replica identity %s', tables[i], identity);
        end if;
    end loop;

    update pgq.tick t
       set tick_snapshot = pgq._cut_snapshot(present, ids[s.place + 1], array[own])
      from unnest(ticks) with ordinality s (tick_id, place)
     where t.tick_queue = i_queue_id
       and t.tick_id = s.tick_id;

    -- Both tables are to be read for all batches that are there now.
    update pgq.queue
       set queue_switch_step1 = ids[1],
           queue_switch_step2 = case when queue_switch_step2 is not null
                                     then greatest(own, txid_snapshot_xmax(present)) end
     where queue_id = i_queue_id;
end;
$$;
comment on function pgq._rebase_queue(integer) is 'give a queue transaction ids of this cluster';

create or replace function pgq._allow_update(i_table regclass)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._allow_update(1)
--      A publication of updates, one for all tables say, forbids them in a table whose rows it
--      cannot identify, and event tables have no key. They are only ever updated after a restore,
--      so the whole row identifies for so long.
-- Parameters:
--      i_table     an event table
-- Returns: replica identity to go back to, as ALTER TABLE takes it; NULL when nothing had to be
--      done
-- Locks: access exclusive on the table, if something had to be done
-- ----------------------------------------------------------------------
declare
    identity text;
begin
    select case c.relreplident when 'n' then 'nothing' else 'default' end
      into identity
      from pg_catalog.pg_class c
     where c.oid = i_table
       and c.relreplident in ('d', 'n')
       and exists (
               select 1
                 from pg_catalog.pg_publication p, pg_catalog.pg_get_publication_tables(p.pubname) t
                where p.pubupdate
                  and t.relid = c.oid);
    if found then
        execute format('alter table %s replica identity full', i_table);
    end if;
    return identity;
end;
$$;
comment on function pgq._allow_update(regclass) is
    'let a table be updated that is published without a key';

create or replace function pgq._forward_sequences(i_queue_id integer)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._forward_sequences(1)
--      Set a queue's sequences behind what its ticks say: a dump without the data of pgq.event_*
--      lacks them.
-- ----------------------------------------------------------------------
declare
    queue   pgq.queue;
    tick    bigint;
    event   bigint;
begin
    select * into queue from pgq.queue q where q.queue_id = i_queue_id;
    select max(t.tick_id), max(t.tick_event_seq)
      into tick, event
      from pgq.tick t
     where t.tick_queue = i_queue_id;
    perform pgq._move_sequence(i_queue_id, queue.queue_tick_seq, tick);
    perform pgq._move_sequence(i_queue_id, queue.queue_event_seq, event);
end;
$$;
comment on function pgq._forward_sequences(integer) is 'set a queue''s sequences behind its ticks';

create or replace function pgq._past_ids(i_queue_id integer, i_count bigint)
returns bigint[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._past_ids(2)
--      The newest transaction ids of this cluster that are not in progress, ascending. In a cluster
--      too young to have given out as many, uses up the missing ones, in subtransactions that are
--      rolled back.
-- Parameters:
--      i_queue_id  a queue of which a tick is locked to use up ids
--      i_count     how many ids
-- ----------------------------------------------------------------------
declare
    own     bigint := txid_current();
    present txid_snapshot;
    result  bigint[];
begin
    loop
        present := txid_current_snapshot();
        -- Ids below 3 are reserved.
        result := array(
            select p.id
              from (select x as id
                      from generate_series(
                               greatest(3, txid_snapshot_xmax(present) - i_count - 1
                                           - (select count(*) from txid_snapshot_xip(present))),
                               txid_snapshot_xmax(present) - 1) x
                     where txid_visible_in_snapshot(x, present)
                       and x <> own
                     order by 1 desc
                     limit i_count) p
             order by 1);
        exit when cardinality(result) = i_count;
        for i in 1 .. i_count - cardinality(result) loop
            begin
                perform 1 from pgq.tick t where t.tick_queue = i_queue_id limit 1 for key share;
                raise exception using errcode = 'PQ001';
            exception
                when sqlstate 'PQ001' then
                    null;
            end;
        end loop;
    end loop;
    return result;
end;
$$;
comment on function pgq._past_ids(integer, bigint) is
    'newest transaction ids that are not in progress';
