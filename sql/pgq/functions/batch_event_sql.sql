create or replace function pgq._window_sql(
    i_queue_id  integer,
    i_sub_id    integer,
    i_prev_tick bigint,
    i_cur_tick  bigint,
    i_filter    text)
returns text
language c
stable
set search_path = pg_catalog, pg_temp
-- ----------------------------------------------------------------------
-- Function: pgq._window_sql(5)
--      Query for the events that a subscription gets between two ticks: those of transactions that
--      the second snapshot sees and the first does not. Long transactions must not make it read
--      everything since they began: it reads the range between the snapshots' upper ends, and
--      probes for each older transaction that has ended in between.
-- Parameters:
--      i_queue_id      queue
--      i_sub_id        subscription
--      i_prev_tick     tick before the window
--      i_cur_tick      tick at its end
--      i_filter        SQL condition on the event e, or NULL
-- Returns: text of the query without "order by", NULL if queue or ticks do not exist
-- Tables: pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_window_sql';
comment on function pgq._window_sql(integer, integer, bigint, bigint, text) is
    'query for the events that a subscription gets between two ticks';

create or replace function pgq.batch_event_sql(x_batch_id bigint)
returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.batch_event_sql(1)
--      Query for the events of a batch, without those that pgq.nack() has put aside.
-- Parameters:
--      x_batch_id  id of the batch
-- Returns: text of a query with the columns ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data,
--      ev_extra1 to ev_extra4, in order of ev_id; it is right until the batch is finished or moved
-- Errors: 42704 no such batch; XX001 ticks of the batch are gone
-- Tables: pgq.subscription, pgq.aside, pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
declare
    sub         pgq.subscription;
    statement   text;
    filter      text;
begin
    select *
      into sub
      from pgq.subscription s
     where s.sub_batch = x_batch_id
       and s.sub_consumer > 0; -- of a slot's batch not all events are its own
    if not found then
        -- Of pgq.receive(3) it is a page's.
        select * into sub from pgq._batch_of_page(x_batch_id);
    end if;
    if not found then
        raise exception 'batch not found'
            using errcode = '42704',
                  hint = format('Batch %s is finished, or was never handed out by '
                                'pgq.next_batch().', x_batch_id);
    end if;

    select format('not e.ev_id operator(pg_catalog.=) any (%L::pg_catalog.int8[])',
                  array_agg(a.as_msg_id))
      into filter
      from pgq.aside a
     where a.as_queue = sub.sub_queue
       and a.as_sub = sub.sub_id
       and a.as_tick = sub.sub_last_tick
    having count(*) > 0;
    statement := pgq._window_sql(sub.sub_queue, sub.sub_id, sub.sub_last_tick, sub.sub_next_tick,
                                 filter);
    if coalesce(statement, '') = '' then
        raise exception 'could not construct sql for batch %', x_batch_id
            using errcode = 'XX001',
                  hint = 'The ticks at its ends are gone: see pgq.queue_health().';
    end if;
    return statement || ' order by 1';
end;
$$;
comment on function pgq.batch_event_sql(bigint) is 'query for the events of a batch';
