create or replace function pgq._queue_changed()
returns trigger as 'MODULE_PATHNAME', 'pgq_queue_changed'
-- ----------------------------------------------------------------------
-- Function: pgq._queue_changed(0)
--      Trigger of pgq.queue: makes every backend forget what it has cached of queues.
-- ----------------------------------------------------------------------
language c;

comment on function pgq._queue_changed() is 'trigger of pgq.queue: backends forget what they have cached';
