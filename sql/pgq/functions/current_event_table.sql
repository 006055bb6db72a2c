create or replace function pgq.current_event_table(x_queue_name text)
returns text
language c
-- ----------------------------------------------------------------------
-- Function: pgq.current_event_table(1)
--      Name of the table that events go to, for COPY. Valid until the end of the transaction.
-- Parameters:
--      x_queue_name    name of the queue
-- Returns: schema.table, not quoted
-- Errors: 42704 no such queue; 55000 inserts are disabled
-- Tables: pgq.queue
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_current_event_table';
comment on function pgq.current_event_table(text) is
    'table that events go to in this transaction, for COPY';
