-- Batches applied in this database. Only the last one of each consumer is remembered: it is the
-- only one that can come again.

create or replace function pgq_ext.is_batch_done(
    a_consumer      text,
    a_subconsumer   text,
    a_batch_id      bigint)
returns boolean
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.is_batch_done(3)
--      Has the consumer applied this batch here? Ask before applying.
-- Parameters:
--      a_consumer      consumer
--      a_subconsumer   part of it that tracks on its own, or ''
--      a_batch_id      batch
-- Returns: true when it is the last batch that was set done; else false, also for nulls
-- Locks: none
-- Tables: pgq_ext.completed_batch (read)
-- ----------------------------------------------------------------------
    select exists (
        select 1
          from pgq_ext.completed_batch
         where consumer_id = a_consumer
           and subconsumer_id = a_subconsumer
           and last_batch_id = a_batch_id)
$$;
comment on function pgq_ext.is_batch_done(text, text, bigint) is
    'has the consumer applied this batch here?';

create or replace function pgq_ext.is_batch_done(
    a_consumer  text,
    a_batch_id  bigint)
returns boolean
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.is_batch_done(2)
--      As is_batch_done(3) with subconsumer ''.
-- ----------------------------------------------------------------------
    select pgq_ext.is_batch_done(a_consumer, '', a_batch_id)
$$;
comment on function pgq_ext.is_batch_done(text, bigint) is
    'has the consumer applied this batch here?';

create or replace function pgq_ext.set_batch_done(
    a_consumer      text,
    a_subconsumer   text,
    a_batch_id      bigint)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.set_batch_done(3)
--      Remember the batch as applied, in the transaction that applies it.
--      Two transactions that apply the same batch meet here: the second waits for the first, then
--      gets false and must roll back.
-- Parameters:
--      a_consumer      consumer
--      a_subconsumer   part of it that tracks on its own, or ''
--      a_batch_id      batch; one that is not positive is not stored
-- Returns: true, or false when it was set done already
-- Errors:
--      22004   a_batch_id is null
--      23502   a consumer is null
-- Locks: the consumer's row, until the end of the transaction
-- Tables: pgq_ext.completed_batch
-- ----------------------------------------------------------------------
begin
    if a_batch_id is null then
        raise exception 'batch id must not be null'
            using errcode = '22004';
    elsif a_batch_id <= 0 then
        return not pgq_ext.is_batch_done(a_consumer, a_subconsumer, a_batch_id);
    end if;

    insert into pgq_ext.completed_batch as done (consumer_id, subconsumer_id, last_batch_id)
    values (a_consumer, a_subconsumer, a_batch_id)
        on conflict (consumer_id, subconsumer_id) do update
       set last_batch_id = excluded.last_batch_id
     where done.last_batch_id <> excluded.last_batch_id;
    return found;
end;
$$;
comment on function pgq_ext.set_batch_done(text, text, bigint) is
    'remember the batch as applied, in the transaction that applies it; false when it was already';

create or replace function pgq_ext.set_batch_done(
    a_consumer  text,
    a_batch_id  bigint)
returns boolean
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.set_batch_done(2)
--      As set_batch_done(3) with subconsumer ''.
-- ----------------------------------------------------------------------
    select pgq_ext.set_batch_done(a_consumer, '', a_batch_id)
$$;
comment on function pgq_ext.set_batch_done(text, bigint) is
    'remember the batch as applied, in the transaction that applies it; false when it was already';
