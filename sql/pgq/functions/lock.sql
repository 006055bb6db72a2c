-- Locks that keep tickers, rotation and registration apart, see docs/locks.md. pg_locks shows them
-- as advisory locks, but they have a tag that SQL's own functions do not reach: whoever can merely
-- connect cannot take them and hold everybody up.

create or replace function pgq._lock(i_lock text, i_queue_id integer)
returns void
language c
-- ----------------------------------------------------------------------
-- Function: pgq._lock(2)
--      Take a lock until the end of the transaction; wait for it.
-- Parameters:
--      i_lock      ticks, rotation, ids, delayed or unique
--      i_queue_id  the queue
-- Errors: 22023 no such lock; 22004 NULL
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_lock';
comment on function pgq._lock(text, integer) is 'take a lock of a queue';

create or replace function pgq._lock_shared(i_lock text, i_queue_id integer)
returns void
language c
-- ----------------------------------------------------------------------
-- Function: pgq._lock_shared(2)
--      The same together with others that share it.
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_lock_shared';
comment on function pgq._lock_shared(text, integer) is 'share a lock of a queue';

create or replace function pgq._try_lock(i_lock text, i_queue_id integer)
returns boolean
language c
-- ----------------------------------------------------------------------
-- Function: pgq._try_lock(2)
--      Take a lock until the end of the transaction, unless somebody else has it.
-- Returns: true if it is taken
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_try_lock';
comment on function pgq._try_lock(text, integer) is 'take a lock of a queue if it is free';

create or replace function pgq._unlock(i_lock text, i_queue_id integer)
returns void
language c
-- ----------------------------------------------------------------------
-- Function: pgq._unlock(2)
--      Give a lock back before the transaction ends. For locks that guard a moment only: what was
--      done under them is not undone for others to see it.
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_unlock';
comment on function pgq._unlock(text, integer) is 'give a lock of a queue back';
