-- Position of a consumer by tick, for consumers that keep their position here rather than on the
-- queue's side.

create or replace function pgq_ext.get_last_tick(
    a_consumer      text,
    a_subconsumer   text)
returns int8
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.get_last_tick(2)
--      Last tick that the consumer has applied here.
-- Parameters:
--      a_consumer      consumer
--      a_subconsumer   part of it that tracks on its own, or ''
-- Returns: tick id, or null when nothing is known
-- Locks: none
-- Tables: pgq_ext.completed_tick (read)
-- ----------------------------------------------------------------------
    select last_tick_id
      from pgq_ext.completed_tick
     where consumer_id = a_consumer
       and subconsumer_id = a_subconsumer
$$;
comment on function pgq_ext.get_last_tick(text, text) is
    'last tick that the consumer has applied here, or null';

create or replace function pgq_ext.get_last_tick(a_consumer text)
returns int8
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.get_last_tick(1)
--      As get_last_tick(2) with subconsumer ''.
-- ----------------------------------------------------------------------
    select pgq_ext.get_last_tick(a_consumer, '')
$$;
comment on function pgq_ext.get_last_tick(text) is
    'last tick that the consumer has applied here, or null';

create or replace function pgq_ext.set_last_tick(
    a_consumer      text,
    a_subconsumer   text,
    a_tick_id       bigint)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.set_last_tick(3)
--      Remember the tick as applied, in the transaction that applies it.
-- Parameters:
--      a_consumer      consumer
--      a_subconsumer   part of it that tracks on its own, or ''
--      a_tick_id       tick, or null to forget the consumer
-- Returns: 1
-- Errors:
--      23502   a consumer is null
-- Locks: the consumer's row, until the end of the transaction
-- Tables: pgq_ext.completed_tick
-- ----------------------------------------------------------------------
begin
    if a_tick_id is null then
        delete from pgq_ext.completed_tick
         where consumer_id = a_consumer
           and subconsumer_id = a_subconsumer;
    else
        insert into pgq_ext.completed_tick (consumer_id, subconsumer_id, last_tick_id)
        values (a_consumer, a_subconsumer, a_tick_id)
            on conflict (consumer_id, subconsumer_id) do update
           set last_tick_id = excluded.last_tick_id;
    end if;
    return 1;
end;
$$;
comment on function pgq_ext.set_last_tick(text, text, bigint) is
    'remember the tick as applied, in the transaction that applies it; null forgets the consumer';

create or replace function pgq_ext.set_last_tick(
    a_consumer  text,
    a_tick_id   bigint)
returns integer
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.set_last_tick(2)
--      As set_last_tick(3) with subconsumer ''.
-- ----------------------------------------------------------------------
    select pgq_ext.set_last_tick(a_consumer, '', a_tick_id)
$$;
comment on function pgq_ext.set_last_tick(text, bigint) is
    'remember the tick as applied, in the transaction that applies it; null forgets the consumer';
