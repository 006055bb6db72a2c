-- The root moves to another node. docs/cascades.md has the whole procedure; every step here is one
-- transaction and can be run again, and node_health() names a step that is missing.

create or replace function pgq_node.demote_root(
    in i_queue_name     text,
    in i_step           int4,
    in i_new_provider   text,
    out ret_code        int4,
    out ret_note        text,
    out last_tick       int8)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.demote_root(3)
--      Make the root a branch of another node, in three steps:
--      1. the queue takes no more events and no more ticks of its own;
--      2. wait for writers to end and lay the last tick, which ends with the last event. Run again
--         it lays one more, so do not once the new root is promoted;
--      3. become a branch of the new root.
--      Between 1 and 3 cancel_demote() undoes.
-- Parameters:
--      i_queue_name    queue
--      i_step          1, 2 or 3
--      i_new_provider  the new root; used by step 3
-- Returns: and the last tick from steps 2 and 3
--      200     Step 1: Writing disabled for: QUEUE
--      200     Step 2: Inserted last tick: QUEUE
--      200     Step 3: Demoted root to branch: QUEUE
--      301     Node not root
--      404     Node not initialized for queue: QUEUE
--      404     Huh, no queue?: QUEUE
-- Errors:
--      22023   incorrect step number
--      55000   steps in wrong order
--      25001   isolation level above READ COMMITTED in step 2: the last tick would miss events
--      23502, 23503  step 3 with a new provider that is null or has no location
-- Locks: the node's row in node_info; in step 2 the queue's event tables, exclusive, which waits
--      for writers, and its ticker lock
-- Tables: pgq_node.node_info, local_state; pgq.queue, tick, the queue's event tables
-- ----------------------------------------------------------------------
declare
    node    pgq_node.node_info;
    queue   pgq.queue;
begin
    select n.* into node from pgq_node.node_info n where n.queue_name = i_queue_name for update;
    if not found then
        ret_code := 404;
        ret_note := 'Node not initialized for queue: ' || i_queue_name;
        return;
    elsif node.node_type <> 'root' then
        ret_code := 301;
        ret_note := 'Node not root';
        return;
    end if;

    select q.* into queue from pgq.queue q where q.queue_name = i_queue_name;
    if i_step > 1 and not (queue.queue_disable_insert and queue.queue_external_ticker) then
        raise exception 'steps in wrong order'
            using errcode = '55000',
                  hint = 'Run step 1 first.';
    end if;

    case i_step
    when 1 then
        update pgq.queue q
           set queue_disable_insert = true,
               queue_external_ticker = true
         where q.queue_name = i_queue_name;
        if not found then
            ret_code := 404;
            ret_note := 'Huh, no queue?: ' || i_queue_name;
            return;
        end if;
        ret_note := 'Step 1: Writing disabled for: ' || i_queue_name;
    when 2 then
        if current_setting('transaction_isolation') not in ('read committed',
                                                            'read uncommitted') then
            raise exception 'the last tick cannot be laid in a transaction with isolation level %',
                    current_setting('transaction_isolation')
                using errcode = '25001',
                      hint = 'Use READ COMMITTED.';
        end if;
        perform pgq_node._lock_events(i_queue_name);
        -- The queue's ticker lock: a ticker that began before step 1 may be about to take the next
        -- id.
        perform pgq._lock('ticks', queue.queue_id);
        last_tick := nextval(pgq._own_sequence(queue.queue_id, queue.queue_tick_seq));
        perform pgq.ticker(i_queue_name, last_tick, current_timestamp,
                           nextval(pgq._own_sequence(queue.queue_id, queue.queue_event_seq)));
        ret_note := 'Step 2: Inserted last tick: ' || i_queue_name;
    when 3 then
        select w.top_tick into last_tick from pgq_node._watermarks(i_queue_name) w;
        update pgq_node.local_state s
           set provider_node = i_new_provider,
               last_tick_id = last_tick,
               uptodate = false
         where s.queue_name = i_queue_name
           and s.consumer_name = node.worker_name;
        update pgq_node.node_info n
           set node_type = 'branch'
         where n.queue_name = i_queue_name;
        ret_note := 'Step 3: Demoted root to branch: ' || i_queue_name;
    else
        raise exception 'incorrect step number'
            using errcode = '22023',
                  hint = 'Steps are 1, 2 and 3.';
    end case;
    ret_code := 200;
end;
$$;
comment on function pgq_node.demote_root(text, int4, text) is
    'make the root a branch of another node, in three steps';

create or replace function pgq_node.cancel_demote(
    in i_queue_name text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.cancel_demote(1)
--      Undo steps 1 and 2 of demote_root: the node stays root and its queue takes events and ticks
--      again. Not once another node has been promoted, for then the set would have two roots.
-- Parameters:
--      i_queue_name    queue
-- Returns:
--      200     Demotion cancelled: QUEUE
--      201     Node is not being demoted: QUEUE
--      301     Node not root
--      404     Node not initialized for queue: QUEUE
-- Locks: the node's row in node_info
-- Tables: pgq_node.node_info (read), pgq.queue
-- ----------------------------------------------------------------------
declare
    node pgq_node.node_info;
begin
    select n.* into node from pgq_node.node_info n where n.queue_name = i_queue_name for update;
    if not found then
        ret_code := 404;
        ret_note := 'Node not initialized for queue: ' || i_queue_name;
        return;
    elsif node.node_type <> 'root' then
        ret_code := 301;
        ret_note := 'Node not root';
        return;
    end if;

    update pgq.queue q
       set queue_disable_insert = false,
           queue_external_ticker = false
     where q.queue_name = i_queue_name
       and (q.queue_disable_insert or q.queue_external_ticker);
    if found then
        ret_code := 200;
        ret_note := 'Demotion cancelled: ' || i_queue_name;
    else
        ret_code := 201;
        ret_note := 'Node is not being demoted: ' || i_queue_name;
    end if;
end;
$$;
comment on function pgq_node.cancel_demote(text) is 'undo steps 1 and 2 of demote_root';

create or replace function pgq_node.promote_branch(
    in i_queue_name text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.promote_branch(1)
--      Make a branch the root: its queue takes events and lays ticks, following those it has. Waits
--      for a worker in the middle of a batch; if the worker died between applying a batch and
--      laying its tick, the tick is laid here.
-- Parameters:
--      i_queue_name    queue
-- Returns:
--      200     Branch node promoted to root
--      301     Node not branch
--      404     Node not initialized for queue: QUEUE
-- Errors: 25001 when the isolation level is above READ COMMITTED
-- Locks: the queue's event tables, exclusive; the node's row in node_info; the worker's row in
--      local_state
-- Tables: pgq_node.node_info, local_state; pgq.queue, tick, the queue's event tables
-- ----------------------------------------------------------------------
declare
    node        pgq_node.node_info;
    queue       pgq.queue;
    completed   bigint;
    top_tick    bigint;
begin
    select n.* into node from pgq_node.node_info n where n.queue_name = i_queue_name;
    if node.node_type = 'branch' then
        if current_setting('transaction_isolation') not in ('read committed',
                                                            'read uncommitted') then
            raise exception 'a branch cannot be promoted in a transaction with isolation level %',
                    current_setting('transaction_isolation')
                using errcode = '25001',
                      hint = 'Use READ COMMITTED.';
        end if;
        -- First the event tables, then node_info and local_state: a worker comes by them in this
        -- order.
        perform pgq_node._lock_events(i_queue_name);
    end if;

    select n.* into node from pgq_node.node_info n where n.queue_name = i_queue_name for update;
    if not found then
        ret_code := 404;
        ret_note := 'Node not initialized for queue: ' || i_queue_name;
        return;
    elsif node.node_type <> 'branch' then
        ret_code := 301;
        ret_note := 'Node not branch';
        return;
    end if;

    select s.last_tick_id
      into completed
      from pgq_node.local_state s
     where s.queue_name = i_queue_name
       and s.consumer_name = node.worker_name
       for update;
    select q.* into queue from pgq.queue q where q.queue_name = i_queue_name;
    select w.top_tick into top_tick from pgq_node._watermarks(i_queue_name) w;
    if completed > top_tick then
        top_tick := pgq.ticker(i_queue_name, completed, current_timestamp,
                               pgq_node._last_event_id(i_queue_name));
    end if;

    update pgq.queue q
       set queue_disable_insert = false,
           queue_external_ticker = false
     where q.queue_name = i_queue_name;
    perform pgq._move_sequence(queue.queue_id, queue.queue_tick_seq, top_tick);
    update pgq_node.node_info n
       set node_type = 'root'
     where n.queue_name = i_queue_name;
    update pgq_node.local_state s
       set provider_node = node.node_name,
           last_tick_id = top_tick,
           uptodate = false
     where s.queue_name = i_queue_name
       and s.consumer_name = node.worker_name;

    ret_code := 200;
    ret_note := 'Branch node promoted to root';
end;
$$;
comment on function pgq_node.promote_branch(text) is 'make a branch the root of its set';

create or replace function pgq_node._lock_events(i_queue_name text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node._lock_events(1)
--      Keep writers out of a queue's event tables until the end of the transaction, and wait for
--      those that are in.
-- Parameters:
--      i_queue_name    queue
-- Locks: the event tables of the queue, exclusive: it can be read meanwhile
-- Tables: pgq.queue (read), the event tables
-- ----------------------------------------------------------------------
declare
    prefix text;
begin
    select q.queue_data_pfx into prefix from pgq.queue q where q.queue_name = i_queue_name;
    execute format('lock table %s in exclusive mode', pgq._event_table(prefix));
end;
$$;
comment on function pgq_node._lock_events(text) is
    'internal: keep writers out of a queue''s event tables';

create or replace function pgq_node._last_event_id(i_queue_name text)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node._last_event_id(1)
--      Highest event id of a queue, from its sequence and its tables. Reads whole tables: for
--      repairs only.
-- Parameters:
--      i_queue_name    queue
-- Returns: event id
-- Locks: none
-- Tables: pgq.queue (read), the event tables
-- ----------------------------------------------------------------------
declare
    queue   pgq.queue;
    last_id bigint;
begin
    select q.* into queue from pgq.queue q where q.queue_name = i_queue_name;
    execute format('select max(ev_id) from %s', pgq._event_table(queue.queue_data_pfx))
            into last_id;
    return greatest(last_id, pgq._sequence_value(queue.queue_id, queue.queue_event_seq), 1);
end;
$$;
comment on function pgq_node._last_event_id(text) is 'internal: highest event id of a queue';
