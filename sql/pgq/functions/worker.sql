-- The worker inside the server, as SQL sees and commands it. See docs/worker.md.

create or replace function pgq._worker_server(
    out preloaded       boolean,
    out launcher_pid    integer,
    out max_workers     integer)
returns setof record
language c
strict
rows 1
-- ----------------------------------------------------------------------
-- Function: pgq._worker_server(0)
--      What shared memory knows of the server.
-- Returns: one row
--      preloaded       true when pgq is in shared_preload_libraries
--      launcher_pid    process id of the launcher, if it runs
--      max_workers     pgq.max_workers; 0 without preload
-- Errors: 55000 a column that the loaded library does not know, since it is older than this SQL;
--      so with the other functions below
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_worker_server';
comment on function pgq._worker_server() is 'shared memory of the worker: the server';

create or replace function pgq._worker_databases(
    out oid             oid,
    out pid             integer,
    out state           text,
    out since           timestamptz,
    out last_tick       timestamptz,
    out ticks           bigint,
    out demand_ticks    bigint,
    out retries         bigint,
    out rotations       bigint,
    out vacuums         bigint,
    out restarts        bigint,
    out errors          bigint,
    out last_error      text,
    out last_error_at   timestamptz)
returns setof record
language c
strict
rows 10
-- ----------------------------------------------------------------------
-- Function: pgq._worker_databases(0)
--      What shared memory knows of the databases that have, or may have, a worker.
-- Returns: a row a database, as pgq.worker_status(0) has it
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_worker_databases';
comment on function pgq._worker_databases() is 'shared memory of the worker: databases';

create or replace function pgq._worker_waiters(
    out queue_id    integer,
    out waiters     integer,
    out wakes       bigint)
returns setof record
language c
strict
rows 10
-- ----------------------------------------------------------------------
-- Function: pgq._worker_waiters(0)
--      How many sessions of this database are in pgq.wait_batch.
-- Returns: a row for each queue that some wait for
--      wakes   how often the processes of these sessions have been woken, now or in earlier waits
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_worker_waiters';
comment on function pgq._worker_waiters() is 'shared memory of the worker: who waits for batches';

create or replace function pgq._worker_problems(
    out task        text,
    out object      text,
    out sqlstate    text,
    out message     text,
    out first       timestamptz,
    out last        timestamptz,
    out count       bigint)
returns setof record
language c
strict
rows 10
-- ----------------------------------------------------------------------
-- Function: pgq._worker_problems(0)
--      What fails in this database, and has not worked since.
-- Returns:
--      task, object    what was done, and to what: a queue's name or an operation
--      sqlstate, message  of the last failure
--      first, last     when it failed
--      count           how often
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_worker_problems';
comment on function pgq._worker_problems() is 'shared memory of the worker: what fails';

create or replace function pgq._worker_control(i_start boolean)
returns integer
language c
strict
-- ----------------------------------------------------------------------
-- Function: pgq._worker_control(1)
--      Start (true) or stop (false) the worker of this database.
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_worker_control';
comment on function pgq._worker_control(boolean) is 'start or stop the worker of this database';

create or replace function pgq._mark_dirty(i_queue_id integer)
returns void
language c
strict
-- ----------------------------------------------------------------------
-- Function: pgq._mark_dirty(1)
--      Have the worker look at a queue when this transaction has committed, as an inserted event
--      does.
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_mark_dirty';
comment on function pgq._mark_dirty(integer) is 'have the worker look at a queue after the commit';

create or replace function pgq._wake_waiters(i_queue_id integer)
returns void
language c
strict
-- ----------------------------------------------------------------------
-- Function: pgq._wake_waiters(1)
--      Have the sessions that wait for a queue look at it when this transaction, which has laid a
--      tick, has committed.
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_wake_waiters';
comment on function pgq._wake_waiters(integer) is
    'have who waits for a queue look after the commit';

create or replace function pgq._announce()
returns void
language c
-- ----------------------------------------------------------------------
-- Function: pgq._announce(0)
--      Tell the launcher, when this transaction has committed, that this database has the
--      extension.
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_announce';
comment on function pgq._announce() is 'tell the launcher that this database has the extension';

create or replace function pgq.start_worker()
returns integer
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.start_worker(0)
--      Start the worker of this database: after pgq.stop_worker(), or, when pgq is not in
--      shared_preload_libraries, until the server or the worker ends. Does not wait for it.
-- Returns: 1 started, 0 it runs already
-- Errors: 55000 pgq.max_workers is 0; 53400 the server has no process for it
-- ----------------------------------------------------------------------
    select pgq._worker_control(true)
$$;
comment on function pgq.start_worker() is 'start the worker of this database';

create or replace function pgq.stop_worker()
returns integer
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.stop_worker(0)
--      Stop the worker of this database until pgq.start_worker() or a restart of the server. Does
--      not wait for it.
-- Returns: 1 asked to stop, 0 none runs
-- Errors: 55000 pgq.max_workers is 0
-- ----------------------------------------------------------------------
    select pgq._worker_control(false)
$$;
comment on function pgq.stop_worker() is 'stop the worker of this database';

create or replace function pgq.worker_status(
    out database_name   text,
    out pid             integer,
    out state           text,
    out since           timestamptz,
    out last_tick       timestamptz,
    out ticks           bigint,
    out demand_ticks    bigint,
    out retries_moved   bigint,
    out rotations       bigint,
    out vacuums         bigint,
    out restarts        bigint,
    out errors          bigint,
    out last_error      text,
    out last_error_at   timestamptz)
returns setof record
language sql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.worker_status(0)
--      Workers of all databases of the server. Counters begin when the server, or the extension in
--      that database, begins; they outlive restarts of the worker. Error texts of other databases,
--      which name objects and may quote data, are for members of pg_read_all_stats (as pg_monitor
--      is) and superusers; who asks is the session's user or the role it has SET.
-- Returns:
--      state           running; starting; waiting to start; stepped aside (somebody needs the
--                      database without sessions); failed; stopped (by pgq.stop_worker())
--      since           when that state began
--      ticks           ticks laid
--      demand_ticks    those of them that a waiting consumer caused
--      retries_moved   events put back into their queue for another delivery
--      rotations, vacuums, restarts, errors  how often that happened
--      last_error      what went wrong last, and when: last_error_at
-- ----------------------------------------------------------------------
    with w as materialized (
        select * from pgq._worker_databases()
    )
    select coalesce(d.datname::text, w.oid::text), w.pid, w.state, w.since, w.last_tick, w.ticks,
           w.demand_ticks, w.retries, w.rotations, w.vacuums, w.restarts, w.errors,
           case when a.may_read then w.last_error end,
           case when a.may_read then w.last_error_at end
      from w
      left join pg_database d on d.oid = w.oid,
           lateral (
               -- current_user is the owner of this function
               select d.datname = current_database()
                      or pg_has_role(coalesce(nullif(current_setting('role'), 'none'),
                                              session_user),
                                     'pg_read_all_stats', 'usage') as may_read) a
    union all
    -- Without preload there is no shared memory, only the process.
    select a.datname::text, a.pid, 'running', a.backend_start,
           null, null, null, null, null, null, null, null, null, null
      from pg_stat_activity a
     where a.backend_type = 'pgq worker'
       and a.pid not in (select w.pid from w where w.pid is not null)
     order by 1
$$;
comment on function pgq.worker_status() is 'state of the workers of all databases';

select pgq._announce();
