create or replace function pgq._health_later(
    out queue_name  text,
    out severity    text,
    out code        text,
    out finding     text,
    out since       timestamptz,
    out remedy      text)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._health_later(0)
--      Findings about delayed messages and schedules: nobody delivers them, or their queue does not
--      take them.
-- ----------------------------------------------------------------------
    select null::text, 'warning', 'delayed_late',
           'delayed messages, or schedules, have been due for '
           || date_trunc('second', now() - n.due),
           n.due,
           'Something has to call pgq.maint_delayed() and pgq.maint_schedules(): the worker, or '
           'whoever calls pgq.ticker().'
      from (select least(pgq._next_delayed(), pgq._next_scheduled()) as due) n
     where not pg_is_in_recovery()
       and n.due < now() - interval '1 minute'
       and pg_postmaster_start_time() < now() - interval '1 minute'
     union all
    select q.queue_name, 'warning', 'delayed_held',
           format('%s delayed messages wait, for the queue does not take them', count(*)),
           min(l.df_due),
           case
               when bool_or(q.queue_disable_insert) then 'Allow inserts into the queue.'
               else 'Warnings in the server''s log say why, and so does pgq.insert_event().'
           end
      from pgq.delayed_left l
      join pgq.queue q on q.queue_id = l.df_queue
     where l.df_due < now() - interval '1 minute'
     group by q.queue_name
     union all
    select q.queue_name, 'warning', 'schedule_failed',
           format('a message of schedule "%s" cannot be sent: %s', s.sc_name, s.sc_error),
           s.sc_next_run,
           format('It is tried each second. To give it up: select pgq.unschedule(%L).', s.sc_name)
      from pgq.schedule s
      join pgq.queue q on q.queue_id = s.sc_queue
     where s.sc_error is not null
$$;
comment on function pgq._health_later() is 'findings about delayed messages and schedules';
