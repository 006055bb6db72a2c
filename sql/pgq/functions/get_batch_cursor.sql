create or replace function pgq.get_batch_cursor(
    in  i_batch_id      bigint,
    in  i_cursor_name   text,
    in  i_quick_limit   int4,
    in  i_extra_where   text,
    out ev_id           bigint,
    out ev_time         timestamptz,
    out ev_txid         bigint,
    out ev_retry        int4,
    out ev_type         text,
    out ev_data         text,
    out ev_extra1       text,
    out ev_extra2       text,
    out ev_extra3       text,
    out ev_extra4       text)
returns setof record
language plpgsql
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.get_batch_cursor(4)
--      Open a cursor over the events of a batch and return the first ones. The client goes on with
--      FETCH n FROM name and ends with CLOSE name, all in one transaction.
-- Parameters:
--      i_batch_id      id of the batch
--      i_cursor_name   name of the cursor
--      i_quick_limit   how many events to return at once; 0 or less: none
--      i_extra_where   SQL condition on columns ev_*, with the rights of the caller; NULL: all
--                      events
-- Returns: the first events; nothing at all, and no cursor, if one of the first three is NULL
-- Errors: 42704 no such batch; 42P03 the cursor exists; whatever the condition raises
-- Tables: pgq.subscription, pgq.queue, pgq.tick, event tables
-- ----------------------------------------------------------------------
declare
    statement pg_catalog.text;
begin
    -- The condition means what it means to the caller, so the search_path is the caller's:
    -- everything else is qualified.
    if i_batch_id is null or i_cursor_name is null or i_quick_limit is null then
        return;
    end if;

    statement := pgq.batch_event_sql(i_batch_id);
    if i_extra_where is not null then
        statement := pg_catalog.concat(
            'select ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, '
            'ev_extra3, ev_extra4'
            ' from (', statement, ') events where ', i_extra_where, ' order by 1');
    end if;

    execute pg_catalog.format('declare %I no scroll cursor for %s', i_cursor_name, statement);
    if i_quick_limit operator(pg_catalog.>) 0 then
        return query execute pg_catalog.format('fetch %s from %I', i_quick_limit, i_cursor_name);
    end if;
end;
$$;
comment on function pgq.get_batch_cursor(bigint, text, int4, text) is
    'open a cursor over some of the events of a batch, return the first ones';

create or replace function pgq.get_batch_cursor(
    in  i_batch_id      bigint,
    in  i_cursor_name   text,
    in  i_quick_limit   int4,
    out ev_id           bigint,
    out ev_time         timestamptz,
    out ev_txid         bigint,
    out ev_retry        int4,
    out ev_type         text,
    out ev_data         text,
    out ev_extra1       text,
    out ev_extra2       text,
    out ev_extra3       text,
    out ev_extra4       text)
returns setof record
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.get_batch_cursor(3)
--      Open a cursor over the events of a batch and return the first ones. See
--      pgq.get_batch_cursor(4).
-- ----------------------------------------------------------------------
begin
    return query select * from pgq.get_batch_cursor(i_batch_id, i_cursor_name, i_quick_limit, null);
end;
$$;
comment on function pgq.get_batch_cursor(bigint, text, int4) is
    'open a cursor over the events of a batch, return the first ones';
