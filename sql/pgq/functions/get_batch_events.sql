create or replace function pgq.get_batch_events(
    in  x_batch_id  bigint,
    out ev_id       bigint,
    out ev_time     timestamptz,
    out ev_txid     bigint,
    out ev_retry    int4,
    out ev_type     text,
    out ev_data     text,
    out ev_extra1   text,
    out ev_extra2   text,
    out ev_extra3   text,
    out ev_extra4   text)
returns setof record
language c
-- ----------------------------------------------------------------------
-- Function: pgq.get_batch_events(1)
--      Events of a batch, in order of ev_id.
-- Parameters:
--      x_batch_id  id of the batch
-- Returns: the rows of pgq.batch_event_sql(1)
-- Errors: 42704 no such batch; 42501 no right to read the event tables
-- Tables: pgq.subscription, pgq.queue, pgq.tick, event tables
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_get_batch_events';
comment on function pgq.get_batch_events(bigint) is 'events of a batch';
