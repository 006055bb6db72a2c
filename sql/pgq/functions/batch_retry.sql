create or replace function pgq.batch_retry(i_batch_id bigint, i_retry_seconds integer)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.batch_retry(2)
--      Have all events of a batch come again, except those that are put aside already.
-- Parameters:
--      i_batch_id      id of the batch
--      i_retry_seconds after how many seconds
-- Returns: number of events put aside
-- Errors: 42704 no such batch
-- Tables: pgq.subscription, pgq.tick, pgq.queue, event tables, pgq.retry_queue
-- ----------------------------------------------------------------------
declare
    sub pgq.subscription;
    n   integer;
begin
    select *
      into sub
      from pgq.subscription s
     where s.sub_batch = i_batch_id
       and s.sub_consumer > 0; -- of a slot's batch not all events are its own
    if not found then
        -- Of pgq.receive(3) it is a page's.
        select * into sub from pgq._batch_of_page(i_batch_id);
    end if;
    if not found then
        raise exception 'batch_retry: batch % not found', i_batch_id
            using errcode = '42704',
                  hint = format('Batch %s is finished, or was never handed out by '
                                'pgq.next_batch().', i_batch_id);
    end if;

    execute 'insert into pgq.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_txid, '
            'ev_owner, ev_retry,'
            ' ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)'
            ' select $1, $2, b.ev_id, b.ev_time, null, $3, coalesce(b.ev_retry, 0) + 1,'
            ' b.ev_type, b.ev_data, b.ev_extra1, b.ev_extra2, b.ev_extra3, b.ev_extra4 from ('
            || pgq._window_sql(sub.sub_queue, sub.sub_id, sub.sub_last_tick, sub.sub_next_tick,
                               null)
            || ') b on conflict (ev_owner, ev_id) do nothing'
      using current_timestamp + make_interval(secs => i_retry_seconds), sub.sub_queue, sub.sub_id;
    get diagnostics n = row_count;
    return n;
end;
$$;
comment on function pgq.batch_retry(bigint, integer) is
    'have all events of a batch come again after some seconds';
