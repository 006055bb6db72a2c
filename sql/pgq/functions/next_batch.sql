create or replace function pgq._check_tick(i_queue_id integer, i_tick_id bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._check_tick(2)
--      Refuse a tick of another cluster, as a restored dump has them: new events would be taken for
--      ones that it sees, and come twice.
-- Errors: XX001 the tick is of another cluster
-- ----------------------------------------------------------------------
declare
    old_xmin    bigint;
    old_xmax    bigint;
begin
    select txid_snapshot_xmin(t.tick_snapshot), txid_snapshot_xmax(t.tick_snapshot)
      into old_xmin, old_xmax
      from pgq.tick t
     where t.tick_queue = i_queue_id
       and t.tick_id = i_tick_id
       and pgq._is_foreign_tick(t.tick_snapshot, t.xmin, txid_current_snapshot());
    if found then
        raise exception 'Invalid PgQ state: old xmin=%, old xmax=%, cur txid=%', old_xmin, old_xmax,
                        txid_current()
            using errcode = 'XX001',
                  hint = 'If the database was restored from a dump, call pgq.rebase().';
    end if;
end;
$$;
comment on function pgq._check_tick(integer, bigint) is 'refuse a tick of another cluster';

create or replace function pgq.next_batch_custom(
    in  i_queue_name        text,
    in  i_consumer_name     text,
    in  i_min_lag           interval,
    in  i_min_count         int4,
    in  i_min_interval      interval,
    out batch_id            int8,
    out cur_tick_id         int8,
    out prev_tick_id        int8,
    out cur_tick_time       timestamptz,
    out prev_tick_time      timestamptz,
    out cur_tick_event_seq  int8,
    out prev_tick_event_seq int8)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
-- through the primary key, also with a plan that was made when pgq.tick was small
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.next_batch_custom(5)
--      Open the next batch of a consumer, or return the one that is open. Two sessions of one
--      consumer get the same batch under the same id.
-- Parameters:
--      i_queue_name    name of the queue
--      i_consumer_name name of the consumer
--      i_min_lag       the batch must end at least this long ago
--      i_min_count     at least this many events, see pgq.find_tick_helper
--      i_min_interval  or spanning at least this time
-- Returns: id of the batch, and the ticks at its ends; all NULL when there is nothing (yet)
-- Errors: 42704 not subscribed; 55000 the consumer has slots, see pgq.receive(4); XX001 the
--      consumer's tick is gone, or the tick is of another cluster (see pgq.rebase)
-- Locks: row of the subscription
-- Tables: pgq.subscription, pgq.tick
-- ----------------------------------------------------------------------
declare
    sub pgq.subscription;
begin
    select s.*
      into sub
      from pgq.subscription s
     where s.sub_queue = (select q.queue_id from pgq.queue q where q.queue_name = i_queue_name)
       and s.sub_consumer = (select c.co_id from pgq.consumer c where c.co_name = i_consumer_name)
       for update;
    if not found then
        raise exception 'Not subscriber to queue: %/%', coalesce(i_queue_name, 'NULL'),
                        coalesce(i_consumer_name, 'NULL')
            using errcode = '42704',
                  hint = case
                      when exists (select 1 from pgq.queue q where q.queue_name = i_queue_name)
                          then format('Register the consumer: select pgq.register_consumer(%L, '
                                      '%L).', i_queue_name, i_consumer_name)
                      else pgq._no_queue_hint(i_queue_name)
                  end;
    end if;

    if sub.sub_consumer < 0 or sub.sub_last_tick is null then
        perform pgq._refuse_slot(i_consumer_name, sub);
    end if;

    -- A statement of its own: it sees the ticks that go with the row just locked.
    select t.tick_id, t.tick_time, t.tick_event_seq
      into prev_tick_id, prev_tick_time, prev_tick_event_seq
      from pgq.tick t
     where t.tick_queue = sub.sub_queue
       and t.tick_id = sub.sub_last_tick;
    if not found then
        raise exception 'PgQ corruption: Consumer % on queue % does not see tick <NULL>',
                        i_consumer_name, i_queue_name
            using errcode = 'XX001',
                  detail = format('It stands at tick %s of queue "%s", which is gone.',
                                  sub.sub_last_tick, i_queue_name),
                  hint = 'Choose the tick where it goes on: pgq.register_consumer_at(). If the '
                         'database was restored from a dump,'
                         ' call pgq.rebase().';
    end if;

    if sub.sub_batch is not null then
        batch_id := sub.sub_batch;
        select t.tick_id, t.tick_time, t.tick_event_seq
          into cur_tick_id, cur_tick_time, cur_tick_event_seq
          from pgq.tick t
         where t.tick_queue = sub.sub_queue
           and t.tick_id = sub.sub_next_tick;
        perform pgq._check_tick(sub.sub_queue, cur_tick_id);
        return;
    end if;

    if i_min_count is null and i_min_interval is null then
        select t.tick_id, t.tick_time, t.tick_event_seq
          into cur_tick_id, cur_tick_time, cur_tick_event_seq
          from pgq.tick t
         where t.tick_queue = sub.sub_queue
           and t.tick_id > sub.sub_last_tick
         order by t.tick_id
         limit 1;
    else
        select h.next_tick_id, h.next_tick_time, h.next_tick_seq
          into cur_tick_id, cur_tick_time, cur_tick_event_seq
          from pgq.find_tick_helper(sub.sub_queue, prev_tick_id, prev_tick_time,
                                    prev_tick_event_seq,
                                    i_min_count, i_min_interval) h;
    end if;

    if cur_tick_id is null or now() - cur_tick_time < i_min_lag then
        cur_tick_id := null;
        cur_tick_time := null;
        cur_tick_event_seq := null;
        prev_tick_id := null;
        prev_tick_time := null;
        prev_tick_event_seq := null;
        return;
    end if;

    perform pgq._check_tick(sub.sub_queue, cur_tick_id);
    batch_id := nextval('pgq.batch_id_seq');
    update pgq.subscription
       set sub_batch = batch_id,
           sub_next_tick = cur_tick_id,
           sub_active = now()
     where sub_queue = sub.sub_queue
       and sub_consumer = sub.sub_consumer;
end;
$$;
comment on function pgq.next_batch_custom(text, text, interval, int4, interval) is
    'open the next batch of a consumer, of a wanted size';

create or replace function pgq.next_batch_info(
    in  i_queue_name        text,
    in  i_consumer_name     text,
    out batch_id            int8,
    out cur_tick_id         int8,
    out prev_tick_id        int8,
    out cur_tick_time       timestamptz,
    out prev_tick_time      timestamptz,
    out cur_tick_event_seq  int8,
    out prev_tick_event_seq int8)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.next_batch_info(2)
--      Open the next batch of a consumer: from its position to the next tick. See
--      pgq.next_batch_custom(5).
-- ----------------------------------------------------------------------
begin
    select f.batch_id, f.cur_tick_id, f.prev_tick_id, f.cur_tick_time, f.prev_tick_time,
           f.cur_tick_event_seq, f.prev_tick_event_seq
      into batch_id, cur_tick_id, prev_tick_id, cur_tick_time, prev_tick_time,
           cur_tick_event_seq, prev_tick_event_seq
      from pgq.next_batch_custom(i_queue_name, i_consumer_name, null, null, null) f;
end;
$$;
comment on function pgq.next_batch_info(text, text) is
    'open the next batch of a consumer, with the ticks at its ends';

create or replace function pgq.next_batch(i_queue_name text, i_consumer_name text)
returns int8
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.next_batch(2)
--      Open the next batch of a consumer, or return the one that is open. See
--      pgq.next_batch_custom(5).
-- Returns: id of the batch, NULL when there is none (yet)
-- ----------------------------------------------------------------------
begin
    return f.batch_id from pgq.next_batch_custom(i_queue_name, i_consumer_name, null, null, null) f;
end;
$$;
comment on function pgq.next_batch(text, text) is
    'open the next batch of a consumer; NULL: none yet';

create or replace function pgq._take_batch(
    in  i_queue_name    text,
    in  i_consumer_name text,
    out verdict         text,
    out batch_id        bigint,
    out has_events      boolean,
    out pause           bigint)
returns setof record
language c
security definer
set search_path = pg_catalog, pg_temp
-- through the primary key, also with a plan that was made when pgq.tick was small
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
-- ----------------------------------------------------------------------
-- Function: pgq._take_batch(2)
--      Open the next batch of a consumer, as pgq.next_batch does where everything is as usual. For
--      pgq.wait_batch, in which it may also lay the tick that the batch ends at, if an event waits
--      for one; on its own it lays none.
-- Parameters:
--      i_queue_name    name of the queue
--      i_consumer_name name of the consumer
-- Returns: a row. verdict: batch, one was opened; nothing, there is none; later, events wait, and
--      the newest tick is too young; worker, events wait, and the worker has to lay the tick;
--      unusual, ask pgq.next_batch. batch_id: the batch. has_events: whether it has some for this
--      consumer; NULL: not known. pause: microseconds until the tick may be laid
-- Errors: those of triggers that others have put on pgq.tick or pgq.subscription
-- Locks: row of the subscription, unless somebody else has it; the queue's ticker lock, likewise
-- Tables: pgq.subscription, pgq.queue, pgq.consumer, pgq.tick, sequences and event tables of the
--      queue
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_take_batch';
comment on function pgq._take_batch(text, text) is
    'open the next batch of a consumer that waits for it';
