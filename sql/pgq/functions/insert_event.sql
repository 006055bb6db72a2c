create or replace function pgq.insert_event(
    queue_name  text,
    ev_type     text,
    ev_data     text,
    ev_extra1   text,
    ev_extra2   text,
    ev_extra3   text,
    ev_extra4   text)
returns bigint
language c
security definer
-- ----------------------------------------------------------------------
-- Function: pgq.insert_event(7)
--      Insert an event. Trigger functions call it by name.
-- Parameters: name of the queue and fields of the event, each of which may be NULL
-- Returns: id of the event
-- Errors: 22004 NULL queue; 42704 no such queue; 55000 inserts are disabled; 54000 limit of one
--      transaction
-- Locks: row exclusive on the current event table, after the transaction has its id
-- Tables: current event table of the queue
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_insert_event7';
comment on function pgq.insert_event(text, text, text, text, text, text, text) is
    'insert an event with extra fields; returns its id';

create or replace function pgq.insert_event(queue_name text, ev_type text, ev_data text)
returns bigint
language c
security definer
-- ----------------------------------------------------------------------
-- Function: pgq.insert_event(3)
--      Insert an event. See pgq.insert_event(7).
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_insert_event3';
comment on function pgq.insert_event(text, text, text) is 'insert an event; returns its id';

create or replace function pgq.insert_event(queue_name text, ev_type text, ev_data jsonb)
returns bigint
language sql
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.insert_event(3)
--      Insert an event whose data is jsonb, as text. See pgq.insert_event(7).
-- ----------------------------------------------------------------------
    -- No settings of its own, so that it is expanded into its query. A literal of no type is text.
    select pgq.insert_event($1, $2, $3::pg_catalog.text)
$$;
comment on function pgq.insert_event(text, text, jsonb) is
    'insert an event with jsonb as its data; returns its id';

create or replace function pgq.insert_event_raw(
    queue_name  text,
    ev_id       bigint,
    ev_time     timestamptz,
    ev_owner    integer,
    ev_retry    integer,
    ev_type     text,
    ev_data     text,
    ev_extra1   text,
    ev_extra2   text,
    ev_extra3   text,
    ev_extra4   text)
returns int8
language c
-- ----------------------------------------------------------------------
-- Function: pgq.insert_event_raw(11)
--      Insert an event with its id, time, owner and retry count. A value of the event sequence is
--      used up even if the id is given, so that the ticker sees something new.
-- Parameters: NULL id: the next one; NULL time: start of the transaction; NULL owner: for all
--      consumers
-- Returns: id of the event
-- Errors, Locks, Tables: as pgq.insert_event(7)
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_insert_event_raw';
comment on function pgq.insert_event_raw(text, bigint, timestamptz, integer, integer, text,
    text, text, text, text, text) is
    'insert an event with given id, time, owner and retry count';

create or replace function pgq.insert_events(
    queue       text,
    ev_type     text[],
    ev_data     text[],
    ev_extra1   text[] default null,
    ev_extra2   text[] default null,
    ev_extra3   text[] default null,
    ev_extra4   text[] default null)
returns bigint
language c
security definer
-- ----------------------------------------------------------------------
-- Function: pgq.insert_events(7)
--      Insert many events at once; the n-th elements of the arrays make the n-th event. All or
--      nothing.
-- Parameters: arrays of one length; those with a default may be NULL, which leaves the field NULL
-- Returns: number of events
-- Errors: 22004 NULL queue or array; 22023 arrays differ in length; others as pgq.insert_event(7)
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_insert_events';
comment on function pgq.insert_events(text, text[], text[], text[], text[], text[], text[]) is
    'insert many events at once; returns their number';
