create or replace function pgq.seq_getval(i_seq_name text)
returns bigint
language c
strict
-- ----------------------------------------------------------------------
-- Function: pgq.seq_getval(1)
--      Last value of a sequence, which is not advanced. A fresh sequence reports 1, as it does
--      after its first value.
-- Parameters:
--      i_seq_name  raw name, see pgq.quote_fqname
-- Returns: last value
-- Errors: 42P01 no such sequence; 42809 not a sequence: a view's functions must not run here; 42501
--      no right to read it
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_seq_getval';
comment on function pgq.seq_getval(text) is 'last value of a sequence, without advancing it';

create or replace function pgq.seq_setval(i_seq_name text, i_new_value int8)
returns bigint
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.seq_setval(2)
--      Set a sequence forward, never back.
-- Parameters:
--      i_seq_name  raw name, see pgq.quote_fqname
--      i_new_value value to reach
-- Returns: last value of the sequence afterwards
-- Errors: 42P01 no such sequence
-- ----------------------------------------------------------------------
declare
    value bigint;
begin
    value := pgq.seq_getval(i_seq_name);
    if value < i_new_value then
        perform pg_catalog.setval(pgq.quote_fqname(i_seq_name)::regclass, i_new_value);
        return i_new_value;
    end if;
    return value;
end;
$$;
comment on function pgq.seq_setval(text, int8) is 'set a sequence forward, never back';

create or replace function pgq._last_value(i_sequence regclass)
returns bigint
language c
strict
-- ----------------------------------------------------------------------
-- Function: pgq._last_value(1)
--      As pg_sequence_last_value, but it gives its lock back at once. The ticker looks at the
--      sequences of all queues in one transaction; holding a lock on each costs more than all the
--      rest of it.
-- Returns: last value; NULL before the first, or if it is no sequence
-- Errors: XX000 no such relation
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_last_value';
comment on function pgq._last_value(regclass) is 'last value of a sequence, without keeping a lock';

create or replace function pgq._next_id(i_table text)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._next_id(1)
--      Next number for a serial column. pg_dump does not take along the sequences of these columns
--      (see schema/dump.sql), so after a restore they start at 1 again. That is noticed
--      here, and repaired.
-- Parameters:
--      i_table     queue, consumer or subscription
-- Returns: a number that no row has, and for subscriptions none that an event still names as its
--      owner
-- Locks: lock (ids, 0) when the sequence has to be repaired
-- ----------------------------------------------------------------------
declare
    sequence    text;
    used        text;
    id          bigint;
    highest     bigint;
begin
    sequence := case i_table
        when 'queue' then 'pgq.queue_queue_id_seq'
        when 'consumer' then 'pgq.consumer_co_id_seq'
        when 'subscription' then 'pgq.subscription_sub_id_seq'
    end;
    used := case i_table
        when 'queue' then 'select max(queue_id) from pgq.queue'
        when 'consumer' then 'select max(co_id) from pgq.consumer'
        when 'subscription' then 'select greatest((select max(sub_id) from pgq.subscription),'
                                 ' (select max(ev_owner) from pgq.retry_queue))'
    end;

    id := nextval(sequence::regclass);
    execute used into highest;
    if id > coalesce(highest, 0) then
        return id;
    end if;

    -- Two sessions that set the sequence to the same value would get the same number.
    perform pgq._lock('ids', 0);
    if i_table = 'subscription' then
        used := 'select greatest((select max(sub_id) from pgq.subscription),'
                  ' (select max(ev_owner) from pgq.retry_queue), (select max(ev_owner) from '
                  'pgq.event_template))';
    end if;
    execute used into highest;
    if pg_sequence_last_value(sequence::regclass) < highest then
        perform setval(sequence::regclass, highest);
    end if;
    return nextval(sequence::regclass);
end;
$$;
comment on function pgq._next_id(text) is
    'next id of a queue, consumer or subscription, also after a restore';
