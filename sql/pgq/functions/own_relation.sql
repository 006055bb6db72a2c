-- pgq.queue has the names of a queue's tables and sequences. They are data: whoever could write
-- them must not thereby choose what the owner's functions read, lock, advance, grant or drop. So
-- every function that uses such a name asks here, as the library does for itself.

create or replace function pgq._event_table(i_name text)
returns regclass
language c
strict
-- ----------------------------------------------------------------------
-- Function: pgq._event_table(1)
--      The table of that name, if it is an event table: an ordinary table that inherits from
--      pgq.event_template, and belongs, as its schema does, to the owner of pgq.queue or a
--      superuser.
-- Parameters:
--      i_name  raw name, see pgq.quote_fqname
-- Returns: the table; NULL for NULL
-- Errors: 42P01 no such relation; XX001 it is something else
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_event_table';
comment on function pgq._event_table(text) is 'the table of that name, if it is an event table';

create or replace function pgq._own_sequence(i_queue_id integer, i_name text)
returns regclass
language c
strict
-- ----------------------------------------------------------------------
-- Function: pgq._own_sequence(2)
--      The sequence of that name, if it is one of the queue: its name begins with pgq.event_<queue
--      id>_, and it belongs to the owner of pgq.queue or a superuser.
-- Parameters:
--      i_queue_id  the queue
--      i_name      raw name, see pgq.quote_fqname
-- Returns: the sequence; NULL for NULL
-- Errors: 42P01 no such relation; XX001 it is something else
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_own_sequence';
comment on function pgq._own_sequence(integer, text) is
    'the sequence of that name, if it is one of the queue';

create or replace function pgq._sequence_value(i_queue_id integer, i_name text)
returns bigint
language c
strict
-- ----------------------------------------------------------------------
-- Function: pgq._sequence_value(2)
--      How far a sequence of the queue has given out ids, for those who look at all queues: one
--      that is broken stops nobody.
-- Parameters: as pgq._own_sequence(2)
-- Returns: last value; NULL before the first, and if there is no such sequence or it is none of the
--      queue
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_sequence_value';
comment on function pgq._sequence_value(integer, text) is
    'last value of a sequence of the queue; NULL: none';

create or replace function pgq._move_sequence(i_queue_id integer, i_name text, i_value bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._move_sequence(3)
--      Set a sequence of the queue forward, never back.
-- Parameters: as pgq._own_sequence(2), and
--      i_value     what has been given out elsewhere
-- Errors: as pgq._own_sequence(2)
-- ----------------------------------------------------------------------
declare
    sequence regclass := pgq._own_sequence(i_queue_id, i_name);
begin
    if coalesce(pgq._last_value(sequence), 1) < i_value then
        perform setval(sequence, i_value);
    end if;
end;
$$;
comment on function pgq._move_sequence(integer, text, bigint) is
    'set a sequence of the queue forward, never back';
