-- Handshake between a cascaded consumer and whoever administers it, and what the consumer reports.
-- A change by the administrator (pause, resume, other provider) clears "uptodate"; the consumer
-- sets it when it has seen the change.

create or replace function pgq_node.set_consumer_uptodate(
    in i_queue_name     text,
    in i_consumer_name  text,
    in i_uptodate       boolean,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.set_consumer_uptodate(3)
--      The consumer has seen the latest change to its state.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     consumer
--      i_uptodate          true; false asks the consumer to look again
-- Returns:
--      200     Consumer uptodate = 1|0
--      404     Consumer not known: QUEUE/CONSUMER
-- Errors: 23502 when i_uptodate is null
-- Locks: the consumer's row in local_state
-- Tables: pgq_node.local_state, consumer_seen
-- ----------------------------------------------------------------------
begin
    update pgq_node.local_state s
       set uptodate = i_uptodate
     where s.queue_name = i_queue_name
       and s.consumer_name = i_consumer_name;
    if not found then
        ret_code := 404;
        ret_note := 'Consumer not known: ' || i_queue_name || '/' || i_consumer_name;
        return;
    end if;

    if i_uptodate then
        perform pgq_node._see_consumer(i_queue_name, i_consumer_name);
    end if;
    ret_code := 200;
    ret_note := 'Consumer uptodate = ' || i_uptodate::int4;
end;
$$;
comment on function pgq_node.set_consumer_uptodate(text, text, boolean) is
    'the consumer has seen the latest change to its state';

create or replace function pgq_node.set_consumer_paused(
    in i_queue_name     text,
    in i_consumer_name  text,
    in i_paused         boolean,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.set_consumer_paused(3)
--      Ask a consumer to pause or to go on. It has done so when it is uptodate again.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     consumer
--      i_paused            true to pause
-- Returns:
--      200     Consumer CONSUMER tagged as paused|resumed
--      201     Consumer CONSUMER already paused|resumed
--      404     Unknown consumer: CONSUMER
-- Errors: 23502 when i_paused is null
-- Locks: the consumer's row in local_state
-- Tables: pgq_node.local_state
-- ----------------------------------------------------------------------
declare
    was_paused  boolean;
    word        text := case when i_paused then 'paused' else 'resumed' end;
begin
    select s.paused
      into was_paused
      from pgq_node.local_state s
     where s.queue_name = i_queue_name
       and s.consumer_name = i_consumer_name
       for update;
    if not found then
        ret_code := 404;
        ret_note := 'Unknown consumer: ' || i_consumer_name;
    elsif was_paused = i_paused then
        ret_code := 201;
        ret_note := 'Consumer ' || i_consumer_name || ' already ' || word;
    else
        update pgq_node.local_state s
           set paused = i_paused,
               uptodate = false
         where s.queue_name = i_queue_name
           and s.consumer_name = i_consumer_name;
        ret_code := 200;
        ret_note := 'Consumer ' || i_consumer_name || ' tagged as ' || word;
    end if;
end;
$$;
comment on function pgq_node.set_consumer_paused(text, text, boolean) is
    'ask a consumer to pause or to go on';

create or replace function pgq_node.set_consumer_completed(
    in i_queue_name     text,
    in i_consumer_name  text,
    in i_tick_id        int8,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.set_consumer_completed(3)
--      The consumer has applied a batch. Called in the transaction that applies it, so that batch
--      and position commit together. Clears the error. The worker of a root applies no batches: one
--      that was in the middle of a batch when its node was promoted is refused here, and with it
--      what it had applied.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     consumer
--      i_tick_id           last tick of the batch
-- Returns:
--      100     Consumer CONSUMER completed tick = TICK
--      404     Consumer not known: QUEUE/CONSUMER
-- Errors:
--      23502   i_tick_id is null
--      55000   the consumer is the worker of a root
-- Locks: the consumer's row in local_state
-- Tables: pgq_node.node_info (read), local_state, consumer_seen
-- ----------------------------------------------------------------------
begin
    update pgq_node.local_state s
       set last_tick_id = i_tick_id,
           cur_error = null
     where s.queue_name = i_queue_name
       and s.consumer_name = i_consumer_name;
    if not found then
        ret_code := 404;
        ret_note := 'Consumer not known: ' || i_queue_name || '/' || i_consumer_name;
        return;
    end if;

    -- After the update, which waits for a promotion in progress.
    if exists (
        select 1
          from pgq_node.node_info n
         where n.queue_name = i_queue_name
           and n.worker_name = i_consumer_name
           and n.node_type = 'root')
    then
        raise exception 'worker "%" of queue "%" cannot apply a batch: its node is the root',
                        i_consumer_name, i_queue_name
            using errcode = '55000',
                  hint = 'The node was promoted meanwhile. Roll back and read the node''s state '
                         'again.';
    end if;

    perform pgq_node._see_consumer(i_queue_name, i_consumer_name);
    ret_code := 100;
    ret_note := 'Consumer ' || i_consumer_name || ' completed tick = ' || i_tick_id;
end;
$$;
comment on function pgq_node.set_consumer_completed(text, text, int8) is
    'the consumer has applied a batch; in the transaction that applies it';

create or replace function pgq_node.set_consumer_error(
    in i_queue_name     text,
    in i_consumer_name  text,
    in i_error_msg      text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.set_consumer_error(3)
--      The consumer has failed, or not any more.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     consumer
--      i_error_msg         what went wrong; null clears
-- Returns:
--      100     Consumer CONSUMER error = MESSAGE (null when it clears)
--      101     Consumer not known, ignoring: QUEUE/CONSUMER
-- Locks: the consumer's row in local_state
-- Tables: pgq_node.local_state, consumer_seen
-- ----------------------------------------------------------------------
begin
    update pgq_node.local_state s
       set cur_error = i_error_msg
     where s.queue_name = i_queue_name
       and s.consumer_name = i_consumer_name;
    if not found then
        ret_code := 101;
        ret_note := 'Consumer not known, ignoring: ' || i_queue_name || '/' || i_consumer_name;
        return;
    end if;

    perform pgq_node._see_consumer(i_queue_name, i_consumer_name);
    ret_code := 100;
    ret_note := 'Consumer ' || i_consumer_name || ' error = ' || i_error_msg;
end;
$$;
comment on function pgq_node.set_consumer_error(text, text, text) is
    'the consumer has failed, or not any more';

create or replace function pgq_node._see_consumer(i_queue_name text, i_consumer_name text)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node._see_consumer(2)
--      Note that a consumer has reported now, for node_health().
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     consumer
-- Locks: the consumer's row in consumer_seen; callers hold its row in local_state, so nobody waits
-- Tables: pgq_node.consumer_seen
-- ----------------------------------------------------------------------
    insert into pgq_node.consumer_seen (queue_name, consumer_name, seen)
    values (i_queue_name, i_consumer_name, current_timestamp)
        on conflict (queue_name, consumer_name) do update
       set seen = excluded.seen
$$;
comment on function pgq_node._see_consumer(text, text) is 'internal: a consumer has reported now';
