create or replace function pgq._claim_unique(i_hash bigint, i_check bigint)
returns bigint
language c
-- ----------------------------------------------------------------------
-- Function: pgq._claim_unique(2)
--      The event that was sent with a unique key; or, if there is none, the right to send it: the
--      lock of the key, for pgq._unlock('unique', ...) once the row is written. Waits for a
--      transaction in progress that has sent it.
-- Parameters:
--      i_hash, i_check what is kept of queue and key
-- Returns: id of the event; NULL: the lock is held
-- Tables: pgq.unique_key
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_claim_unique';
comment on function pgq._claim_unique(bigint, bigint) is
    'the event that was sent with a unique key, or the right to send it';

create or replace function pgq._delayed_changed()
returns void
language c
-- ----------------------------------------------------------------------
-- Function: pgq._delayed_changed(0)
--      The transaction has stored a delayed event: the worker looks when it has committed.
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_delayed_changed';
comment on function pgq._delayed_changed() is 'the worker is to look for delayed events';

create or replace function pgq._send_later(
    i_queue         text,
    i_type          text,
    i_payload       text,
    i_key           text,
    i_headers       text,
    i_deliver_at    timestamptz,
    i_unique_key    text,
    i_unique_for    interval)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._send_later(8)
--      What pgq.send(8) does for a message that is to be delivered later, or sent once.
-- Returns: id of the message, or of the one that was sent before
-- Errors: those of pgq.send(8)
-- Locks: the key, while it is looked for and stored
-- Tables: pgq.queue, pgq.queue_option, pgq.unique_key, pgq.delayed, event tables
-- ----------------------------------------------------------------------
declare
    present timestamptz := clock_timestamp();
    queue   pgq.queue;
    expires timestamptz;
    digest  bytea;
    half    bigint[];
    lock    integer;
    id      bigint;
begin
    select * into queue from pgq.queue q where q.queue_name = i_queue;
    if not found then
        raise exception 'No such queue'
            using errcode = '42704',
                  hint = pgq._no_queue_hint(i_queue);
    end if;
    if not isfinite(i_deliver_at) then
        raise exception 'deliver_at must be a time, not %', i_deliver_at
            using errcode = '22023',
                  hint = 'It is when the message is delivered.';
    end if;
    if i_unique_for is not null and i_unique_key is null then
        raise exception 'unique_for needs a unique_key'
            using errcode = '22023',
                  hint = 'It is how long a second message with that key is not sent.';
    end if;

    if i_unique_key is not null then
        expires := present + coalesce(i_unique_for,
                                      (pgq._queue_option(queue.queue_id)).opt_unique_for);
        if expires < present or expires > present + interval '32 days' then
            raise exception 'unique_for must be between 0 and 32 days, not %',
                            justify_hours(i_unique_for)
                using errcode = '22023',
                      hint = 'It is how long a second message with that key is not sent.';
        end if;
        digest := sha256(convert_to(queue.queue_id || ':' || i_unique_key,
                                    getdatabaseencoding()));
        half := array(select ('x' || encode(substr(digest, n, 8), 'hex'))::bit(64)::bigint
                        from unnest('{1,9}'::integer[]) n);
        lock := half[1]::bit(64)::bit(32)::integer;
        id := pgq._claim_unique(half[1], half[2]);
        if id is not null then
            return id;
        end if;
    end if;

    if i_deliver_at > present then
        if queue.queue_disable_insert
           and current_setting('session_replication_role') <> 'replica' then
            raise exception 'Insert into queue disallowed'
                using errcode = '55000',
                      hint = format('Queue "%s" has queue_disable_insert set: it is a copy that a '
                                    'cascade maintains, or an administrator closed it.', i_queue);
        end if;
        id := nextval(pgq._own_sequence(queue.queue_id, queue.queue_event_seq));
        execute format('insert into pgq.%I (dl_due, dl_queue, dl_id, dl_txid, dl_time, dl_unique, '
                       'dl_type, dl_data, dl_extra1, dl_extra2) '
                       'values ($1, $2, $3, txid_current(), now(), $4, $5, $6, $7, $8)',
                       'delayed_' || pgq._bucket(present, i_deliver_at))
          using i_deliver_at, queue.queue_id, id, half[1], i_type, i_payload, i_key, i_headers;
        perform pgq._delayed_changed();
    else
        id := pgq.insert_event(i_queue, i_type, i_payload, i_key, i_headers, null, null);
    end if;

    if i_unique_key is not null then
        execute format('insert into pgq.%I (uk_hash, uk_check, uk_id, uk_expires) '
                       'values ($1, $2, $3, $4)', 'unique_' || pgq._bucket(present, expires))
          using half[1], half[2], id, expires;
        perform pgq._unlock('unique', lock);
    end if;
    return id;
end;
$$;
comment on function pgq._send_later(text, text, text, text, text, timestamptz, text, interval) is
    'send a message later, or once';
