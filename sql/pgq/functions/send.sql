create or replace function pgq.send(
    queue_name  text,
    type_name   text,
    payload     text,
    key         text default null,
    headers     jsonb default null,
    deliver_at  timestamptz default null,
    unique_key  text default null,
    unique_for  interval default null)
returns bigint
language c
security definer
-- ----------------------------------------------------------------------
-- Function: pgq.send(8)
--      Send a message: insert an event with type, payload, key (ev_extra1) and headers (ev_extra2);
--      at once, or when it is due. Before that it is in no table of events.
-- Parameters:
--      queue_name  name of the queue
--      type_name   type of the message
--      payload     stored byte for byte; jsonb as its text
--      key         what it is about, for consumers that care for order
--      headers     a JSON object, or NULL
--      deliver_at  when it becomes an event of the queue; NULL or over: now
--      unique_key  within unique_for a second message with that key in that queue is not sent. Who
--                  sends it at the same time waits for the other transaction to end.
--      unique_for  for how long; NULL: the queue's setting unique_for; at most 32 days
-- Returns: id of the message, which it also has before it is due; of the first one, if it is not
--      sent
-- Errors: 22023 headers are no object, deliver_at is infinite, unique_for out of range or without
--      unique_key; 42704 no such queue; others as pgq.insert_event(7)
-- Locks, Tables: as pgq.insert_event(7); of a unique key its lock, while it is looked for and
--      stored, not until the transaction ends
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_send';
comment on function pgq.send(text, text, text, text, jsonb, timestamptz, text, interval) is
    'send a message with type, key and headers, at once, later or once; returns its id';

create or replace function pgq.send(
    queue_name  text,
    type_name   text,
    payload     jsonb,
    key         text default null,
    headers     jsonb default null,
    deliver_at  timestamptz default null,
    unique_key  text default null,
    unique_for  interval default null)
returns bigint
language c
security definer
-- ----------------------------------------------------------------------
-- Function: pgq.send(8)
--      Send a message whose payload is jsonb. See pgq.send(text, text, text, text, jsonb,
--      timestamptz, text, interval).
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_send_json';
comment on function pgq.send(text, text, jsonb, text, jsonb, timestamptz, text, interval) is
    'send a message with jsonb as its payload; returns its id';

create or replace function pgq.send(queue_name text, payload text)
returns bigint
language c
security definer
-- ----------------------------------------------------------------------
-- Function: pgq.send(2)
--      Send a message of type "default". See pgq.send(8).
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_send_plain';
comment on function pgq.send(text, text) is 'send a message; returns its id';

create or replace function pgq.send(queue_name text, payload jsonb)
returns bigint
language c
security definer
-- ----------------------------------------------------------------------
-- Function: pgq.send(2)
--      Send a message of type "default" whose payload is jsonb. See pgq.send(8).
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_send_plain_json';
comment on function pgq.send(text, jsonb) is
    'send a message with jsonb as its payload; returns its id';

create or replace function pgq._send_batch(
    queue_name  text,
    type_name   text,
    payloads    text[],
    keys        text[],
    headers     text[])
returns bigint[]
language c
security definer
-- ----------------------------------------------------------------------
-- Function: pgq._send_batch(5)
--      Send many messages at once, for pgq.send_batch(5).
-- Parameters:
--      headers     each jsonb as text, or NULL
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_send_batch';
comment on function pgq._send_batch(text, text, text[], text[], text[]) is
    'send many messages at once';

create or replace function pgq.send_batch(
    queue_name  text,
    type_name   text,
    payloads    text[],
    keys        text[] default null,
    headers     jsonb[] default null)
returns bigint[]
language sql
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.send_batch(5)
--      Send many messages of a type at once; the n-th elements of the arrays make the n-th message.
--      All or nothing.
-- Parameters:
--      queue_name  name of the queue
--      type_name   type of the messages
--      payloads    their payloads
--      keys        a key for each, or NULL
--      headers     JSON objects, one for each, or NULL
-- Returns: their ids, in the order of the payloads
-- Errors: 22004 NULL queue or payloads; 22023 arrays differ in length, or headers are no object;
--      others as pgq.insert_event(7)
-- ----------------------------------------------------------------------
    -- No settings of its own, so that it is expanded into its query.
    select pgq._send_batch($1, $2, $3, $4, $5::pg_catalog.text[])
$$;
comment on function pgq.send_batch(text, text, text[], text[], jsonb[]) is
    'send many messages at once; returns their ids';

create or replace function pgq.send_batch(
    queue_name  text,
    type_name   text,
    payloads    jsonb[],
    keys        text[] default null,
    headers     jsonb[] default null)
returns bigint[]
language sql
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.send_batch(5)
--      Send many messages at once whose payloads are jsonb. See pgq.send_batch(text, text, text[],
--      text[], jsonb[]).
-- ----------------------------------------------------------------------
    select pgq._send_batch($1, $2, $3::pg_catalog.text[], $4, $5::pg_catalog.text[])
$$;
comment on function pgq.send_batch(text, text, jsonb[], text[], jsonb[]) is
    'send many messages at once whose payloads are jsonb; returns their ids';
