create or replace function pgq.event_retry_raw(
    x_queue         text,
    x_consumer      text,
    x_retry_after   timestamptz,
    x_ev_id         bigint,
    x_ev_time       timestamptz,
    x_ev_retry      integer,
    x_ev_type       text,
    x_ev_data       text,
    x_ev_extra1     text,
    x_ev_extra2     text,
    x_ev_extra3     text,
    x_ev_extra4     text)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.event_retry_raw(12)
--      Put an event into the retry queue of a consumer without looking at any batch.
-- Parameters: queue, consumer, time of the retry and the event; a NULL id gets the next one of the
--      queue
-- Returns: id of the event
-- Errors: 42704 consumer not registered; 23505 the event is put aside already; 23502 NULL time
-- Tables: pgq.subscription, pgq.consumer, pgq.queue, pgq.retry_queue
-- ----------------------------------------------------------------------
declare
    sub record;
    id  bigint := x_ev_id;
begin
    select s.sub_id, s.sub_queue, q.queue_event_seq
      into sub
      from pgq.subscription s
      join pgq.queue q on q.queue_id = s.sub_queue
      join pgq.consumer c on c.co_id = s.sub_consumer
     where q.queue_name = x_queue
       and c.co_name = x_consumer;
    if not found then
        raise exception 'consumer not registered'
            using errcode = '42704',
                  hint = case
                      when exists (select 1 from pgq.queue q where q.queue_name = x_queue)
                          then format('Consumer "%s" is not subscribed to queue "%s": '
                                      'pgq.register_consumer().', x_consumer, x_queue)
                      else pgq._no_queue_hint(x_queue)
                  end;
    end if;

    if id is null then
        id := nextval(pgq._own_sequence(sub.sub_queue, sub.queue_event_seq));
    end if;
    insert into pgq.retry_queue (ev_retry_after, ev_queue, ev_id, ev_time, ev_owner, ev_retry,
                                 ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
    values (x_retry_after, sub.sub_queue, id, x_ev_time, sub.sub_id, x_ev_retry,
            x_ev_type, x_ev_data, x_ev_extra1, x_ev_extra2, x_ev_extra3, x_ev_extra4);
    return id;
end;
$$;
comment on function pgq.event_retry_raw(text, text, timestamptz, bigint, timestamptz, integer,
    text, text, text, text, text, text) is
    'put an event into the retry queue of a consumer';
