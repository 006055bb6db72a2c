-- Ticks of one queue are laid one ticker at a time, in the order of their snapshots: whoever lays
-- one holds the queue's ticker lock, pgq._lock('ticks', queue_id), until the end of the
-- transaction, and takes it in a statement before the one whose snapshot goes into the tick.

create or replace function pgq.ticker(
    i_queue_name        text,
    i_tick_id           bigint,
    i_orig_timestamp    timestamptz,
    i_event_seq         bigint)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.ticker(4)
--      Lay a tick that was decided elsewhere, in a queue with an external ticker. Who waits for the
--      queue is woken by the commit.
-- Parameters:
--      i_queue_name        name of the queue
--      i_tick_id           id of the tick
--      i_orig_timestamp    its time
--      i_event_seq         its value of the event sequence
-- Returns: i_tick_id
-- Errors: 55000 no such queue, not external, or paused; 23505 the tick exists
-- Locks: the queue's ticker lock
-- Tables: pgq.queue, pgq.tick, sequences of the queue
-- ----------------------------------------------------------------------
declare
    queue   pgq.queue;
    id      integer;
begin
    select q.queue_id into id from pgq.queue q where q.queue_name = i_queue_name;
    if found then
        perform pgq._lock('ticks', id);
    end if;
    select *
      into queue
      from pgq.queue q
     where q.queue_id = id
       and q.queue_external_ticker
       and not q.queue_ticker_paused;
    if not found then
        raise exception 'queue not found or ticker disabled: %', i_queue_name
            using errcode = '55000',
                  hint = case
                      when id is null then pgq._no_queue_hint(i_queue_name)
                      else format('Queue "%s" takes such ticks when external_ticker is set and it '
                                  'is not paused: pgq.set_queue_config().',
                                  i_queue_name)
                  end;
    end if;

    insert into pgq.tick (tick_queue, tick_id, tick_time, tick_event_seq)
    values (queue.queue_id, i_tick_id, i_orig_timestamp, i_event_seq);

    perform pgq._move_sequence(queue.queue_id, queue.queue_tick_seq, i_tick_id);
    perform pgq._move_sequence(queue.queue_id, queue.queue_event_seq, i_event_seq);
    perform pgq._wake_waiters(queue.queue_id);
    return i_tick_id;
end;
$$;
comment on function pgq.ticker(text, bigint, timestamptz, bigint) is
    'lay a tick that was decided elsewhere';

create or replace function pgq.ticker(i_queue_name text)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.ticker(1)
--      Lay a tick in a queue if its rules ask for one, or as many as its batch_max_count needs.
--      Waits for another ticker of the queue, and then looks again whether a tick is due.
-- Parameters:
--      i_queue_name    name of the queue
-- Returns: id of the newest tick laid, NULL if none is due
-- Errors: 42704 no such queue; 55000 external ticker, or paused; XX001 see pgq.rebase
-- Locks: the queue's ticker lock
-- Tables: pgq.queue, pgq.tick, sequences and event tables of the queue
-- ----------------------------------------------------------------------
declare
    queue record;
begin
    select q.queue_id, q.queue_external_ticker, q.queue_ticker_paused
      into queue
      from pgq.queue q
     where q.queue_name = i_queue_name;
    if not found then
        raise exception 'no such queue'
            using errcode = '42704',
                  hint = pgq._no_queue_hint(i_queue_name);
    end if;
    if queue.queue_external_ticker then
        raise exception 'This queue has external tick source.'
            using errcode = '55000',
                  hint = format('Queue "%s" gets its ticks from who fills it: see external_ticker '
                                'in pgq.set_queue_config().', i_queue_name);
    end if;
    if queue.queue_ticker_paused then
        raise exception 'Ticker has been paused for this queue'
            using errcode = '55000',
                  hint = format('Go on with pgq.resume_queue(%L).', i_queue_name);
    end if;

    perform pgq._lock('ticks', queue.queue_id);
    return pgq._tick(queue.queue_id, false);
end;
$$;
comment on function pgq.ticker(text) is 'lay a tick in a queue if one is due';

create or replace function pgq.ticker()
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.ticker(0)
--      Lay ticks in all queues where one is due. One query finds these queues, however many are
--      idle. Queues that have an external ticker, are paused, or are being ticked by somebody else
--      at this moment are left alone. A queue that fails is named in a warning, and does not stop
--      the others. Delayed events that are due are delivered before, for the tick that follows.
-- Returns: number of queues that got ticks
-- Locks: ticker locks of the queues that are due (skips the busy)
-- Tables: as pgq.ticker(1)
-- ----------------------------------------------------------------------
declare
    queue   record;
    due     integer[];
    advice  text;
    n       bigint := 0;
begin
    perform pgq._deliver_in_passing();
    begin
        due := array(select d from pgq._due_queues() d);
        for queue in
            select q.queue_id from pgq.queue q where q.queue_id = any (due) order by q.queue_name
        loop
            continue when not pgq._try_lock('ticks', queue.queue_id);
            if pgq._tick(queue.queue_id, false) is not null then
                n := n + 1;
            end if;
        end loop;
        return n;
    exception
        when others then
            n := 0;
    end;

    -- Something is wrong with one of them: each in a subtransaction of its own, which is only done
    -- now because many subtransactions in one transaction slow down everybody.
    for queue in
        select q.queue_id, q.queue_name
          from pgq.queue q
         where not q.queue_external_ticker
           and not q.queue_ticker_paused
         order by q.queue_name
    loop
        begin
            continue when not pgq._try_lock('ticks', queue.queue_id);
            if pgq._tick(queue.queue_id, false) is not null then
                n := n + 1;
            end if;
        exception
            when others then
                get stacked diagnostics advice = pg_exception_hint;
                raise warning 'ticker: queue "%": %', queue.queue_name, sqlerrm
                    using errcode = sqlstate,
                          hint = coalesce(nullif(advice, ''), 'Call pgq.ticker() with the name of '
                                                              'the queue to see more.');
        end;
    end loop;
    return n;
end;
$$;
comment on function pgq.ticker() is
    'lay ticks in all queues where one is due; returns their number';

create or replace function pgq._tick_on_demand(i_queue_name text)
returns bigint
language c
security definer
set search_path = pg_catalog, pg_temp
-- as for pgq._tick
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
-- ----------------------------------------------------------------------
-- Function: pgq._tick_on_demand(1)
--      Lay a tick, or as many as batch_max_count needs, if there is a committed event that the
--      newest tick does not cover. For the worker, when a consumer waits that does not lay it
--      itself. Waits for another ticker of the queue. It decides as pgq._tick(queue, true) does,
--      and asks that in unusual cases.
-- Parameters:
--      i_queue_name    name of the queue
-- Returns: id of the newest tick laid; NULL if there is no such event, or the queue is external or
--      paused
-- Errors: 42704 no such queue; XX001 see pgq.rebase
-- Locks: the queue's ticker lock
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_tick_on_demand';
comment on function pgq._tick_on_demand(text) is 'lay a tick if an event waits for one';
