-- Single events applied in this database, for consumers that commit event by event. Events of the
-- current batch are remembered; the first event of another batch makes the consumer forget them.
-- Not for events from the retry queue, which come in other batches.

create or replace function pgq_ext.is_event_done(
    a_consumer      text,
    a_subconsumer   text,
    a_batch_id      bigint,
    a_event_id      bigint)
returns boolean
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.is_event_done(4)
--      Has the consumer applied this event of this batch here?
-- Parameters:
--      a_consumer      consumer
--      a_subconsumer   part of it that tracks on its own, or ''
--      a_batch_id      batch
--      a_event_id      event
-- Returns: true or false; false for nulls
-- Locks: none
-- Tables: pgq_ext.completed_event (read)
-- ----------------------------------------------------------------------
    select exists (
        select 1
          from pgq_ext.completed_event
         where consumer_id = a_consumer
           and subconsumer_id = a_subconsumer
           and batch_id = a_batch_id
           and event_id = a_event_id)
$$;
comment on function pgq_ext.is_event_done(text, text, bigint, bigint) is
    'has the consumer applied this event of this batch here?';

create or replace function pgq_ext.is_event_done(
    a_consumer  text,
    a_batch_id  bigint,
    a_event_id  bigint)
returns boolean
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.is_event_done(3)
--      As is_event_done(4) with subconsumer ''.
-- ----------------------------------------------------------------------
    select pgq_ext.is_event_done(a_consumer, '', a_batch_id, a_event_id)
$$;
comment on function pgq_ext.is_event_done(text, bigint, bigint) is
    'has the consumer applied this event of this batch here?';

create or replace function pgq_ext.set_event_done(
    a_consumer      text,
    a_subconsumer   text,
    a_batch_id      bigint,
    a_event_id      bigint)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.set_event_done(4)
--      Remember the event as applied, in the transaction that applies it. Two transactions that
--      apply the same event meet here: the second waits for the first, then gets false and must
--      roll back.
-- Parameters:
--      a_consumer      consumer
--      a_subconsumer   part of it that tracks on its own, or ''
--      a_batch_id      batch; another than last time makes the consumer forget the events of that
--                      one
--      a_event_id      event
-- Returns: true, or false when it was set done already
-- Errors:
--      23502   an argument is null
-- Locks: the consumer's row in partial_batch, until the end of the transaction
-- Tables: pgq_ext.completed_event, pgq_ext.partial_batch
-- ----------------------------------------------------------------------
declare
    old_batch_id bigint;
begin
    if pgq_ext.is_event_done(a_consumer, a_subconsumer, a_batch_id, a_event_id) then
        return false;
    end if;

    insert into pgq_ext.partial_batch (consumer_id, subconsumer_id, cur_batch_id)
    values (a_consumer, a_subconsumer, a_batch_id)
        on conflict do nothing;

    select p.cur_batch_id
      into old_batch_id
      from pgq_ext.partial_batch p
     where p.consumer_id = a_consumer
       and p.subconsumer_id = a_subconsumer
       for update;
    if old_batch_id <> a_batch_id then
        delete from pgq_ext.completed_event
         where consumer_id = a_consumer
           and subconsumer_id = a_subconsumer
           and batch_id = old_batch_id;
        update pgq_ext.partial_batch
           set cur_batch_id = a_batch_id
         where consumer_id = a_consumer
           and subconsumer_id = a_subconsumer;
    end if;

    insert into pgq_ext.completed_event (consumer_id, subconsumer_id, batch_id, event_id)
    values (a_consumer, a_subconsumer, a_batch_id, a_event_id)
        on conflict do nothing;
    return found;
end;
$$;
comment on function pgq_ext.set_event_done(text, text, bigint, bigint) is
    'remember the event as applied, in the transaction that applies it; false when it was already';

create or replace function pgq_ext.set_event_done(
    a_consumer  text,
    a_batch_id  bigint,
    a_event_id  bigint)
returns boolean
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.set_event_done(3)
--      As set_event_done(4) with subconsumer ''.
-- ----------------------------------------------------------------------
    select pgq_ext.set_event_done(a_consumer, '', a_batch_id, a_event_id)
$$;
comment on function pgq_ext.set_event_done(text, bigint, bigint) is
    'remember the event as applied, in the transaction that applies it; false when it was already';
