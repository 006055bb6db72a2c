create or replace function pgq._receive_all(i_queue text, i_consumer text, i_max_return integer)
returns pgq.message[]
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._receive_all(3)
--      What pgq.receive(3) gives, as an array.
-- ----------------------------------------------------------------------
begin
    return array(select m from pgq.receive(i_queue, i_consumer, i_max_return) m);
end;
$$;
comment on function pgq._receive_all(text, text, integer) is 'the next messages, as an array';

create or replace procedure pgq.wait_receive(
    in    queue         text,
    in    consumer      text,
    in    timeout       interval default '1 minute',
    in    max_return    integer default 100,
    inout messages      pgq.message[] default null)
language plpgsql
as $$
-- ----------------------------------------------------------------------
-- Procedure: pgq.wait_receive(5)
--      Wait for messages of a consumer, and receive them, in one call: pgq.wait_batch(5), then
--      pgq.receive(3). With a worker in this database they are there a few milliseconds after their
--      commit. While it waits there is no snapshot and no lock.
-- Parameters:
--      queue       name of the queue
--      consumer    name of the consumer
--      timeout     how long to wait; 0: look once; NULL: no limit
--      max_return  how many messages at most
--      messages    in: anything
-- Returns: the messages, to be acknowledged by pgq.ack(); none when the time is over
-- Errors: 25001 in a transaction block or function; those of pgq.wait_batch(5) and pgq.receive(3)
-- Locks, Tables: as pgq.receive(3), when messages are there
-- ----------------------------------------------------------------------
declare
    begun       pg_catalog.timestamptz := pg_catalog.clock_timestamp();
    left_over   interval := timeout;
    batch       bigint;
begin
    -- Procedures that end transactions have no settings of their own: everything is qualified.
    loop
        call pgq.wait_batch(queue, consumer, left_over, batch);
        if batch is null then
            messages := '{}';
            return;
        end if;
        messages := pgq._receive_all(queue, consumer, max_return);
        -- All of it may have been put aside.
        exit when pg_catalog.cardinality(messages) operator(pg_catalog.>) 0;
        if timeout is not null then
            left_over := greatest(timeout operator(pg_catalog.-)
                                      (pg_catalog.clock_timestamp() operator(pg_catalog.-) begun),
                                  '0'::pg_catalog.interval);
        end if;
    end loop;
end;
$$;
comment on procedure pgq.wait_receive(text, text, interval, integer, pgq.message[]) is
    'wait for messages of a consumer and receive them';
