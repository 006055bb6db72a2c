create or replace function pgq.maint_retry_events()
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.maint_retry_events(0)
--      Move due events from the retry queue back to the event tables, up to 1000 of each queue, the
--      oldest first. Call again until the result is 0. Events of a queue that takes none now stay,
--      and hold up no other queue.
-- Returns: number of events moved
-- Locks: pgq.retry_queue in share update exclusive mode: one call at a time
-- Tables: pgq.retry_queue, pgq.queue, event tables
-- ----------------------------------------------------------------------
declare
    queue   record;
    moved   integer;
    total   integer := 0;
begin
    lock table pgq.retry_queue in share update exclusive mode;

    for queue in
        select q.queue_id, q.queue_name,
               case
                   when q.queue_per_tx_limit between 0 and 999 then q.queue_per_tx_limit
                   else 1000
               end as most
          from pgq.queue q,
               lateral (
                   select r.ev_retry_after
                     from pgq.retry_queue r
                    where r.ev_queue = q.queue_id
                    order by r.ev_retry_after
                    limit 1) oldest
         where oldest.ev_retry_after <= current_timestamp
           and (not q.queue_disable_insert
                or current_setting('session_replication_role') = 'replica')
         order by oldest.ev_retry_after
    loop
        begin
            with due as (
                select r.ev_owner, r.ev_id
                  from pgq.retry_queue r
                 where r.ev_queue = queue.queue_id
                   and r.ev_retry_after <= current_timestamp
                 order by r.ev_retry_after
                 limit queue.most
            ), taken as (
                delete from pgq.retry_queue r
                 using due
                 where r.ev_owner = due.ev_owner
                   and r.ev_id = due.ev_id
                returning r.*
            )
            select count(pgq.insert_event_raw(queue.queue_name, t.ev_id, t.ev_time, t.ev_owner,
                                              t.ev_retry,
                                              t.ev_type, t.ev_data, t.ev_extra1, t.ev_extra2,
                                              t.ev_extra3, t.ev_extra4))
              into moved
              from taken t;
            total := total + moved;
        exception
            when others then
                raise warning 'maint_retry_events: queue "%": %', queue.queue_name, sqlerrm
                    using hint = 'Its events wait, those of other queues do not. See '
                                 'pgq.queue_health().';
        end;
    end loop;

    return total;
end;
$$;
comment on function pgq.maint_retry_events() is
    'move due events from the retry queue back; call again until 0';
