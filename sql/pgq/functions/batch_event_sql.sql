create or replace function pgq._window_sql(
    i_queue_id integer, i_sub_id integer, i_prev_tick bigint, i_cur_tick bigint, i_filter text)
returns text as $$
-- ----------------------------------------------------------------------
-- Function: pgq._window_sql(5)
--      Query for the events that a subscription gets between two ticks: those of transactions that the second
--      snapshot sees and the first does not. Long transactions must not make it read everything since they began:
--      it reads the range between the snapshots' upper ends, and probes for each older transaction that has ended
--      in between.
-- Parameters:
--      i_queue_id, i_sub_id - queue and subscription
--      i_prev_tick          - tick before the window
--      i_cur_tick           - tick at its end
--      i_filter             - SQL condition on the event e, or NULL
-- Returns: text of the query without "order by", NULL if queue or ticks do not exist
-- Tables: pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
declare
    v_prev   txid_snapshot;
    v_cur    txid_snapshot;
    v_low    bigint;
    v_high   bigint;
    v_older  bigint[] := '{}';
    v_xid    bigint;
    v_select text;
    v_owner  text;
    v_table  text;
    v_parts  text[] := '{}';
begin
    select p.tick_snapshot, c.tick_snapshot
      into v_prev, v_cur
      from pgq.tick p, pgq.tick c
     where p.tick_queue = i_queue_id
       and p.tick_id = i_prev_tick
       and c.tick_queue = i_queue_id
       and c.tick_id = i_cur_tick;
    if not found then
        return null;
    end if;

    v_low := txid_snapshot_xmax(v_prev);
    v_high := txid_snapshot_xmax(v_cur);
    for v_xid in
        select x
          from txid_snapshot_xip(v_prev) x
         where txid_visible_in_snapshot(x, v_cur)
         order by x desc
    loop
        if v_low - 100 <= v_xid then
            v_low := v_xid;
        else
            v_older := v_older || v_xid;
        end if;
    end loop;

    v_owner := format(' and (e.ev_owner is null or e.ev_owner = %s)', i_sub_id) || coalesce(' and ' || i_filter, '');
    for v_table in
        select t from pgq._window_tables(i_queue_id, i_prev_tick, i_cur_tick) t
    loop
        v_select := 'select e.ev_id, e.ev_time, e.ev_txid, e.ev_retry, e.ev_type, e.ev_data,'
                    ' e.ev_extra1, e.ev_extra2, e.ev_extra3, e.ev_extra4 from ' || pgq.quote_fqname(v_table) || ' e';
        v_parts := v_parts || (
            v_select
            || format(' where e.ev_txid >= %s and e.ev_txid <= %s', v_low, v_high)
            || format(' and pg_catalog.txid_visible_in_snapshot(e.ev_txid, %L::pg_catalog.txid_snapshot)', v_cur)
            || format(' and not pg_catalog.txid_visible_in_snapshot(e.ev_txid, %L::pg_catalog.txid_snapshot)', v_prev)
            || v_owner);
        if v_older <> '{}' then
            v_parts := v_parts || (
                v_select || format(' where e.ev_txid in (%s)', array_to_string(v_older, ', ')) || v_owner);
        end if;
    end loop;
    return array_to_string(v_parts, E'\nunion all\n');
end;
$$ language plpgsql stable set search_path = pg_catalog, pg_temp;

comment on function pgq._window_sql(integer, integer, bigint, bigint, text)
    is 'query for the events that a subscription gets between two ticks';

create or replace function pgq.batch_event_sql(x_batch_id bigint)
returns text as $$
-- ----------------------------------------------------------------------
-- Function: pgq.batch_event_sql(1)
--      Query for the events of a batch.
-- Parameters: x_batch_id - id of the batch
-- Returns: text of a query with the columns ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, ev_extra1 to
--      ev_extra4, in order of ev_id; it is right until the batch is finished or moved
-- Errors: 42704 no such batch; XX001 ticks of the batch are gone
-- Tables: pgq.subscription, pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
declare
    v_sub pgq.subscription%rowtype;
    v_sql text;
begin
    select * into v_sub from pgq.subscription s where s.sub_batch = x_batch_id;
    if not found then
        raise exception 'batch not found' using errcode = '42704';
    end if;

    v_sql := pgq._window_sql(v_sub.sub_queue, v_sub.sub_id, v_sub.sub_last_tick, v_sub.sub_next_tick, null);
    if coalesce(v_sql, '') = '' then
        raise exception 'could not construct sql for batch %', x_batch_id using errcode = 'XX001';
    end if;
    return v_sql || ' order by 1';
end;
$$ language plpgsql;

comment on function pgq.batch_event_sql(bigint) is 'query for the events of a batch';
