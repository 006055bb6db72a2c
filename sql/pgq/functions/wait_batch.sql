create or replace procedure pgq.wait_batch(
    in i_queue_name text, in i_consumer_name text, in i_timeout interval default '1 minute',
    inout batch_id bigint default null)
as 'MODULE_PATHNAME', 'pgq_wait_batch'
-- ----------------------------------------------------------------------
-- Procedure: pgq.wait_batch(4)
--      Wait for the next batch of a consumer and open it, as pgq.next_batch does. With a worker in this database a
--      batch is there a few milliseconds after the commit of its first event; without one it comes with the next
--      tick, which is looked for ten times a second. While it waits there is no transaction, no snapshot and no lock.
-- Parameters:
--      i_queue_name    - name of the queue
--      i_consumer_name - name of the consumer
--      i_timeout       - how long to wait; 0: look once; NULL: no limit. statement_timeout counts too.
--      batch_id        - in: anything
-- Returns: id of the batch; NULL when the time is over
-- Errors: 25001 in a transaction block or function; 22004 NULL name; 22023 negative time;
--      those of pgq.next_batch_custom
-- Locks, Tables: as pgq.next_batch_custom
-- ----------------------------------------------------------------------
language c;

comment on procedure pgq.wait_batch(text, text, interval, bigint) is 'wait for the next batch of a consumer';
