-- Handing a batch to a member, and the memory that tells whether a takeover needs a new batch id.
-- Internal: no grants.

create or replace function pgq_coop._open_batch(
    member          pgq.subscription,
    i_batch_id      bigint,
    i_prev_tick_id  bigint,
    i_next_tick_id  bigint)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop._open_batch(4)
--      Put a batch into a member's subscription.
-- Parameters:
--      member              the member's subscription; the caller holds its lock and the group's
--      i_batch_id          id that no subscription has now
--      i_prev_tick_id, i_next_tick_id  the batch's ticks
-- Returns: i_batch_id
-- Locks: none of its own
-- Tables: pgq.subscription
-- ----------------------------------------------------------------------
begin
    update pgq.subscription
       set sub_batch = i_batch_id,
           sub_last_tick = i_prev_tick_id,
           sub_next_tick = i_next_tick_id,
           sub_active = current_timestamp
     where sub_queue = member.sub_queue
       and sub_consumer = member.sub_consumer;
    perform pgq_coop._remember_batch(i_batch_id);
    return i_batch_id;
end;
$$;
comment on function pgq_coop._open_batch(pgq.subscription, bigint, bigint, bigint) is
    'internal: put a batch into a member''s subscription';

create or replace function pgq_coop._take_over(member pgq.subscription, dead pgq.subscription)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop._take_over(2)
--      Remove a dead member and give its batch to another.
-- Parameters:
--      member, dead    their subscriptions; the caller holds both locks and the group's
-- Returns: the batch's id for the new holder
-- Locks: the dead member's consumer row, unless somebody else has it
-- Tables: pgq.subscription, pgq.consumer; sequence pgq.batch_id_seq
-- ----------------------------------------------------------------------
declare
    batch_id bigint := dead.sub_batch;
begin
    delete from pgq.subscription
     where sub_queue = dead.sub_queue
       and sub_consumer = dead.sub_consumer;

    -- If somebody registers the dead member anew in this moment, its name stays.
    perform 1
       from pgq.consumer c
      where c.co_id = dead.sub_consumer
        for no key update skip locked;
    if found then
        delete from pgq.consumer c
         where c.co_id = dead.sub_consumer
           and not exists (select 1 from pgq.subscription s where s.sub_consumer = c.co_id);
    end if;

    -- A session cannot be late behind itself; everybody else gets a fence.
    if not batch_id = any (pgq_coop._session_batches()) then
        batch_id := nextval('pgq.batch_id_seq');
    end if;
    return pgq_coop._open_batch(member, batch_id, dead.sub_last_tick, dead.sub_next_tick);
end;
$$;
comment on function pgq_coop._take_over(pgq.subscription, pgq.subscription) is
    'internal: remove a dead member and give its batch to another';

create or replace function pgq_coop._session_batches()
returns bigint[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop._session_batches(0)
--      Batches that this session took and has not finished, newest first. Kept in a setting of the
--      session, so it costs no table, rolls back with the transaction and dies with the session.
-- Locks: none
-- Tables: none
-- ----------------------------------------------------------------------
    select coalesce(nullif(current_setting('pgq_coop.session_batches', true), ''), '{}')::bigint[]
$$;
comment on function pgq_coop._session_batches() is
    'internal: batches that this session took and has not finished';

create or replace function pgq_coop._remember_batch(i_batch_id bigint)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop._remember_batch(1)
--      Add a batch to the session's memory, which holds the newest 32.
-- Locks: none
-- Tables: none
-- ----------------------------------------------------------------------
    select set_config('pgq_coop.session_batches',
                      (i_batch_id
                       || array_remove(pgq_coop._session_batches(), i_batch_id))[1:32]::text,
                      false)
$$;
comment on function pgq_coop._remember_batch(bigint) is 'internal: this session took a batch';

create or replace function pgq_coop._forget_batch(i_batch_id bigint)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop._forget_batch(1)
--      Remove a batch from the session's memory.
-- Locks: none
-- Tables: none
-- ----------------------------------------------------------------------
    select set_config('pgq_coop.session_batches',
                      array_remove(pgq_coop._session_batches(), i_batch_id)::text,
                      false)
$$;
comment on function pgq_coop._forget_batch(bigint) is 'internal: this session finished a batch';
