create or replace function pgq._queue_changed()
returns trigger
language c
-- ----------------------------------------------------------------------
-- Function: pgq._queue_changed(0)
--      Trigger of pgq.queue: makes every backend forget what it has cached of queues.
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_queue_changed';
comment on function pgq._queue_changed() is
    'trigger of pgq.queue: backends forget what they have cached';
