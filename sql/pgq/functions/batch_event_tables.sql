create or replace function pgq._window_tables(
    i_queue_id  integer,
    i_prev_tick bigint,
    i_cur_tick  bigint)
returns setof text
language sql
stable
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._window_tables(3)
--      Event tables in which the events between two ticks can be: the previous one, the current one
--      or both.
-- Parameters: the queue and the two ticks
-- Returns: names, not quoted; none if queue or ticks do not exist
-- Tables: pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
    -- No search_path of its own, so that it is expanded into the query that calls it. For that
    -- every name is qualified.
    select pg_catalog.concat(q.queue_data_pfx, '_', n.number)
      from pgq.queue q
      join pgq.tick p
        on p.tick_queue operator(pg_catalog.=) q.queue_id
       and p.tick_id operator(pg_catalog.=) i_prev_tick
      join pgq.tick c
        on c.tick_queue operator(pg_catalog.=) q.queue_id
       and c.tick_id operator(pg_catalog.=) i_cur_tick,
           lateral (
               values (1, (q.queue_cur_table operator(pg_catalog.+) q.queue_ntables
                           operator(pg_catalog.-) 1)
                          operator(pg_catalog.%) q.queue_ntables,
                          -- later transactions than step 2 write to the current table only
                          q.queue_ntables operator(pg_catalog.>) 1
                          and not coalesce(pg_catalog.txid_snapshot_xmin(p.tick_snapshot)
                                           operator(pg_catalog.>) q.queue_switch_step2, false)),
                      (2, q.queue_cur_table,
                          -- what a snapshot sees that was taken before step 1 is in the previous
                          -- table; the ticker sees to it that this holds for the snapshots that it
                          -- composes, too
                          not pg_catalog.txid_snapshot_xmax(c.tick_snapshot)
                               operator(pg_catalog.<) q.queue_switch_step1)
           ) n (place, number, is_possible)
     where q.queue_id operator(pg_catalog.=) i_queue_id
       and n.is_possible
     order by n.place
$$;
comment on function pgq._window_tables(integer, bigint, bigint) is
    'event tables in which the events between two ticks can be';

create or replace function pgq._batch_of_page(i_id bigint)
returns setof pgq.subscription
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._batch_of_page(1)
--      The subscription whose open batch a page of pgq.receive(3) is of.
-- Parameters:
--      i_id    number of the page, which its messages have as batch_id
-- Returns: one row; none if the page is not handed out (any more)
-- Tables: pgq.page, pgq.subscription
-- ----------------------------------------------------------------------
begin
    return query
    select s.*
      from pgq.page p
      join pgq.subscription s
        on s.sub_queue = p.page_queue
       and s.sub_consumer = p.page_consumer
       and s.sub_batch = p.page_batch
     where p.page_id = i_id
       and p.page_end is not null
       and p.page_consumer > 0; -- of a slot's batch not all events are its own
end;
$$;
comment on function pgq._batch_of_page(bigint) is
    'the subscription whose open batch a page is of';

create or replace function pgq.batch_event_tables(x_batch_id bigint)
returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.batch_event_tables(1)
--      Event tables in which the events of a batch can be, the older one first.
-- Parameters:
--      x_batch_id  id of the batch
-- Returns: names, not quoted
-- Errors: 42704 no such batch
-- Tables: pgq.subscription, pgq.queue, pgq.tick
-- ----------------------------------------------------------------------
declare
    sub pgq.subscription;
begin
    select * into sub from pgq.subscription s where s.sub_batch = x_batch_id;
    if not found then
        -- Of pgq.receive(3) it is a page's.
        select * into sub from pgq._batch_of_page(x_batch_id);
    end if;
    return query
    select t
      from pgq._window_tables(sub.sub_queue, sub.sub_last_tick, sub.sub_next_tick) t;
    if not found then
        raise exception 'Cannot find data for batch %', x_batch_id
            using errcode = '42704',
                  hint = format('Batch %s is finished, or was never handed out by '
                                'pgq.next_batch().', x_batch_id);
    end if;
end;
$$;
comment on function pgq.batch_event_tables(bigint) is
    'event tables in which the events of a batch can be';
