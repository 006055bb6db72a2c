create or replace function pgq._next_cron(i_cron text, i_timezone text, i_after timestamptz)
returns timestamptz
language c
-- ----------------------------------------------------------------------
-- Function: pgq._next_cron(3)
--      The first time after another one that a cron expression is for.
-- Parameters:
--      i_cron      five fields: minute, hour, day of the month, month, day of the week
--      i_timezone  name of the time zone
--      i_after     the time
-- Errors: 22004 NULL; 22023 no cron expression, or one that never comes; no time zone
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_next_cron';
comment on function pgq._next_cron(text, text, timestamptz) is
    'the first time after another one that a cron expression is for';

create or replace function pgq._next_every(
    i_from      timestamptz,
    i_every     interval,
    i_timezone  text,
    i_after     timestamptz)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._next_every(4)
--      The first time after another one that is so many intervals from a third. Days and months are
--      those of the calendar of the time zone, hours are hours.
-- Parameters:
--      i_from      where it is counted from
--      i_every     the interval
--      i_timezone  name of the time zone
--      i_after     the time
-- ----------------------------------------------------------------------
declare
    by_calendar constant boolean := extract(day from i_every) <> 0
                                    or extract(month from i_every) <> 0
                                    or extract(year from i_every) <> 0;
    start       constant timestamp := i_from at time zone i_timezone;
    n           bigint := greatest(floor(extract(epoch from i_after - i_from)
                                         / extract(epoch from i_every))::bigint, 0);
    found_one   timestamptz;
begin
    -- A month of an interval is of 30 days, one of the calendar nearly so.
    n := greatest(n - 2 - case when by_calendar then n / 30 else 0 end, 1);
    loop
        found_one := case
                         when by_calendar then (start + n * i_every) at time zone i_timezone
                         else i_from + n * i_every
                     end;
        exit when found_one > i_after;
        n := n + 1;
    end loop;
    return found_one;
end;
$$;
comment on function pgq._next_every(timestamptz, interval, text, timestamptz) is
    'the first time after another one that is so many intervals from a third';

create or replace function pgq._next_run(i_schedule pgq.schedule, i_after timestamptz)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._next_run(2)
--      The first time after another one that a schedule has a message for.
-- ----------------------------------------------------------------------
begin
    if i_schedule.sc_cron is not null then
        return pgq._next_cron(i_schedule.sc_cron, i_schedule.sc_timezone, i_after);
    end if;
    return pgq._next_every(i_schedule.sc_from, i_schedule.sc_every, i_schedule.sc_timezone,
                           i_after);
end;
$$;
comment on function pgq._next_run(pgq.schedule, timestamptz) is
    'the first time after another one that a schedule has a message for';

create or replace function pgq.schedule(
    name        text,
    queue       text,
    type        text,
    payload     text,
    every       interval default null,
    cron        text default null,
    timezone    text default null,
    missed      text default 'skip')
returns timestamptz
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.schedule(8)
--      Send a message again and again: one for each time, exactly, in the transaction that notes
--      that it is sent. A schedule of that name is replaced. The message has headers "schedule",
--      the name, and "scheduled_at", the time in UTC that it is for.
-- Parameters:
--      name        name of the schedule
--      queue       name of the queue
--      type        type of the message
--      payload     its payload
--      every       time between two messages, at least a second, counted from now; or
--      cron        five fields: minute, hour, day of the month, month, day of the week; names of
--                  months and days may be used
--      timezone    time zone of days, and of the expression; NULL: setting TimeZone
--      missed      what becomes of a message that could not be sent for a minute: 'skip', it is
--                  not; 'once', one is sent for all that were missed
-- Returns: when the first message is sent
-- Errors: 22004 NULL name; 22023 not one of every and cron, no interval or expression that can be,
--      no time zone, missed is something else; 42704 no such queue
-- Locks: row of the schedule
-- Tables: pgq.schedule, pgq.queue
-- ----------------------------------------------------------------------
declare
    made    pgq.schedule;
begin
    if name is null then
        raise exception 'name must not be NULL'
            using errcode = '22004',
                  hint = 'Name the schedule, for pgq.unschedule().';
    end if;
    if (every is null) = (cron is null) then
        raise exception 'schedule "%" needs every or cron, and not both', name
            using errcode = '22023',
                  hint = 'For example every => ''10 minutes'', or cron => ''0 9 * * mon-fri''.';
    end if;
    if every < '1 second' or not isfinite(now() + every) then
        raise exception 'every must be at least a second, not %', every
            using errcode = '22023',
                  hint = 'It is the time between two messages.';
    end if;
    if missed is null or missed not in ('skip', 'once') then
        raise exception 'missed must be skip or once, not %', coalesce(missed, 'NULL')
            using errcode = '22023',
                  hint = 'It is what becomes of messages whose time is over.';
    end if;
    made.sc_name := name;
    made.sc_queue := pgq._queue_id(queue);
    made.sc_type := type;
    made.sc_payload := payload;
    made.sc_every := every;
    made.sc_cron := cron;
    made.sc_timezone := coalesce(timezone, current_setting('TimeZone'));
    made.sc_missed := missed;
    made.sc_from := date_trunc('second', clock_timestamp());
    -- It says so if there is no such time zone.
    perform pgq._next_cron('* * * * *', made.sc_timezone, made.sc_from);
    made.sc_next_run := pgq._next_run(made, made.sc_from);

    delete from pgq.schedule s where s.sc_name = made.sc_name;
    insert into pgq.schedule select (made).*;
    perform pgq._delayed_changed();
    return made.sc_next_run;
end;
$$;
comment on function pgq.schedule(text, text, text, text, interval, text, text, text) is
    'send a message again and again';

create or replace function pgq.unschedule(name text)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.unschedule(1)
--      Send no more messages of a schedule.
-- Parameters:
--      name        name of the schedule
-- Returns: true; false: there is none of that name
-- Locks: row of the schedule
-- Tables: pgq.schedule
-- ----------------------------------------------------------------------
begin
    delete from pgq.schedule s where s.sc_name = unschedule.name;
    return found;
end;
$$;
comment on function pgq.unschedule(text) is 'send no more messages of a schedule';

create or replace function pgq.maint_schedules()
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.maint_schedules(0)
--      Send messages of schedules whose time has come. Call again until the result is 0. One whose
--      queue does not take it is tried again after a second, and stops no other.
-- Returns: number of messages
-- Locks: rows of the schedules that are due (skips the busy)
-- Tables: pgq.schedule, pgq.queue, event tables
-- ----------------------------------------------------------------------
declare
    due         pgq.schedule;
    present     timestamptz;
    is_missed   boolean;
    is_sent     boolean;
    sent        integer := 0;
begin
    for due in
        select *
          from pgq.schedule s
         where greatest(s.sc_next_run, s.sc_again) <= clock_timestamp()
         order by s.sc_next_run, s.sc_name
           for update skip locked
    loop
        present := clock_timestamp();
        is_missed := due.sc_next_run < present - interval '1 minute';
        is_sent := not is_missed or due.sc_missed = 'once';
        begin
            if is_sent then
                perform pgq.insert_event(
                            q.queue_name, due.sc_type, due.sc_payload, null,
                            jsonb_build_object(
                                'schedule', due.sc_name,
                                'scheduled_at', to_char(due.sc_next_run at time zone 'UTC',
                                                        'YYYY-MM-DD"T"HH24:MI:SS"Z"'))::text,
                            null, null)
                   from pgq.queue q
                  where q.queue_id = due.sc_queue;
            end if;
            update pgq.schedule s
               set sc_last_run = case when is_sent then due.sc_next_run else s.sc_last_run end,
                   sc_next_run = pgq._next_run(due, case when is_missed then present
                                                         else due.sc_next_run
                                                    end),
                   sc_again = null,
                   sc_error = null
             where s.sc_name = due.sc_name;
            sent := sent + is_sent::integer;
        exception
            when others then
                raise warning 'maint_schedules: schedule "%": %', due.sc_name, sqlerrm
                    using hint = 'Its message waits, those of others do not.';
                update pgq.schedule s
                   set sc_again = present + interval '1 second',
                       sc_error = sqlerrm
                 where s.sc_name = due.sc_name;
        end;
    end loop;
    return sent;
end;
$$;
comment on function pgq.maint_schedules() is
    'send messages of schedules whose time has come; call again until 0';

create or replace function pgq._next_scheduled()
returns timestamptz
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._next_scheduled(0)
--      When pgq.maint_schedules() has something to do; NULL: there are no schedules.
-- Tables: pgq.schedule
-- ----------------------------------------------------------------------
    select min(greatest(s.sc_next_run, s.sc_again)) from pgq.schedule s
$$;
comment on function pgq._next_scheduled() is 'when a schedule is due';
