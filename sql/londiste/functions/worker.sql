-- The worker inside the server, for each node that asks for it. See docs/replication.md.

create or replace function londiste.start_worker(
    in i_queue_name         text,
    in i_parallel_copies    int4 default 1,
    out ret_code            int4,
    out ret_note            text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.start_worker(2)
--      Have this node worked for inside the server from now on, as the role that calls. In a copy
--      of the database it has to be called again.
-- Parameters:
--      i_queue_name        queue
--      i_parallel_copies   tables that are copied at once
-- Returns:
--      200     Worker started for queue: QUEUE
--      200     Worker runs already for queue: QUEUE
--      404     No such node: QUEUE
--      A superuser's worker connects by foreign servers alone that a superuser owns, and that have
--      a user mapping for its role. Without shared_preload_libraries = 'pgq' nothing starts.
-- Errors: 22004 NULL argument; 23514 i_parallel_copies is not from 1 to 64; 55000 the role may not
--      log in, or is no member of pgq_admin
-- Locks: the row in londiste.worker
-- Tables: londiste.worker
-- ----------------------------------------------------------------------
declare
    login   boolean;
begin
    if i_queue_name is null or i_parallel_copies is null then
        raise exception 'queue and parallel_copies must not be null'
            using errcode = '22004';
    end if;
    if not exists (select 1 from pgq_node.node_info n where n.queue_name = i_queue_name) then
        ret_code := 404;
        ret_note := 'No such node: ' || i_queue_name;
        return;
    end if;
    select r.rolcanlogin into login from pg_roles r where r.rolname = current_user;
    if not login then
        raise exception 'role "%" may not log in', current_user
            using errcode = '55000',
                  hint = 'The worker is a session of the role that calls. SET ROLE to another one.';
    end if;
    if not pg_has_role(current_user, 'pgq_admin', 'member') then
        raise exception 'role "%" is no member of pgq_admin', current_user
            using errcode = '55000',
                  hint = 'GRANT londiste_writer to it.';
    end if;
    insert into londiste.worker as w (queue_name, parallel_copies)
    values (i_queue_name, i_parallel_copies)
        on conflict (queue_name) do update
       set worker_role = excluded.worker_role,
           parallel_copies = excluded.parallel_copies
     where (w.worker_role, w.parallel_copies, w.database_oid, w.system_id)
           is distinct from
           (excluded.worker_role, excluded.parallel_copies, excluded.database_oid,
            excluded.system_id);
    ret_note := case when found then 'Worker started for queue: '
                     else 'Worker runs already for queue: ' end || i_queue_name;
    ret_code := 200;
end;
$$;
comment on function londiste.start_worker(text, int4) is
    'have this node worked for inside the server';

create or replace function londiste.stop_worker(
    in i_queue_name text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.stop_worker(1)
--      Have this node worked for inside the server no more. Processes end when this has committed;
--      what they have not committed comes again with the next worker, of whatever kind.
-- Parameters:
--      i_queue_name    queue
-- Returns:
--      200     Worker stopped for queue: QUEUE
--      404     No worker for queue: QUEUE
-- Errors: 22004 NULL argument
-- Locks: the row in londiste.worker
-- Tables: londiste.worker, londiste.worker_error
-- ----------------------------------------------------------------------
begin
    if i_queue_name is null then
        raise exception 'queue must not be null'
            using errcode = '22004';
    end if;
    delete from londiste.worker w where w.queue_name = i_queue_name;
    if not found then
        ret_code := 404;
        ret_note := 'No worker for queue: ' || i_queue_name;
        return;
    end if;
    delete from londiste.worker_error e where e.queue_name = i_queue_name;
    ret_code := 200;
    ret_note := 'Worker stopped for queue: ' || i_queue_name;
end;
$$;
comment on function londiste.stop_worker(text) is
    'have this node worked for inside the server no more';

create or replace function londiste.worker_status(
    in i_queue_name     text default null,
    out queue_name      text,
    out worker_role     text,
    out parallel_copies int4,
    out state           text,
    out pid             int4,
    out consumer_name   text,
    out sqlstate        text,
    out event_id        int8,
    out error           text,
    out failing_since   timestamptz,
    out failed_last     timestamptz,
    out attempts        int8)
returns setof record
language sql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.worker_status(1)
--      The workers inside the server, and with what they and their copies fail.
-- Parameters:
--      i_queue_name    queue; null: all
-- Returns: a row a worker, and a row for each further consumer of it that fails
--      worker_role     whose session it is
--      state           working; failing, and tried again; starting; or not asked for here: the
--                      database is a copy of the one where it was, see start_worker
--      pid             the server process that works for the node: of this worker or another one,
--                      whose pid keeps this one waiting
--      consumer_name   who fails: the node's worker, or a table's copy
--      sqlstate, event_id, error
--                      with what
--      failing_since, failed_last, attempts
--                      since when, when last, and how often
-- Locks: none
-- Tables: londiste.worker, worker_error, pgq_node.node_info (read)
-- ----------------------------------------------------------------------
    select w.queue_name,
           coalesce(r.rolname, w.worker_role::text),
           w.parallel_copies,
           case
               when (w.database_oid, w.system_id) <> (d.oid, s.system_identifier)
                   then 'not asked for here'
               when e.message is not null then 'failing'
               when l.pid is not null then 'working'
               else 'starting'
           end,
           l.pid,
           e.consumer_name,
           e.sqlstate,
           e.event_id,
           e.message,
           e.first_time,
           e.last_time,
           e.attempts
      from londiste.worker w
      cross join pg_control_system() s
      join pg_database d on d.datname = current_database()
      left join pg_roles r on r.oid = w.worker_role
      left join londiste.worker_error e on e.queue_name = w.queue_name
      left join lateral (
           select p.pid
             from londiste._processes() p
             join pgq_node.node_info n on n.queue_name = p.queue_name
            where p.queue_name = w.queue_name
              and p.consumer_name = n.worker_name
            limit 1) l on true
     where coalesce(w.queue_name = i_queue_name, true)
     order by w.queue_name, e.consumer_name
$$;
comment on function londiste.worker_status(text) is
    'workers inside the server, and with what they fail';
