-- What an administrator does with a node, besides choosing its tables.

create or replace function londiste._set_paused(
    in i_queue_name text,
    in i_paused     boolean,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._set_paused(2)
--      Have the node's worker rest, or go on.
-- Parameters:
--      i_queue_name    queue
--      i_paused        rest
-- Returns:
--      200     Consumer WORKER tagged as paused; as resumed
--      201     Consumer WORKER already paused; already resumed
--      404     No such node: QUEUE
-- Errors: 22004 NULL queue
-- Locks, Tables: as pgq_node.set_consumer_paused
-- ----------------------------------------------------------------------
declare
    worker  text;
begin
    if i_queue_name is null then
        raise exception 'queue must not be null'
            using errcode = '22004';
    end if;
    select n.worker_name into worker from pgq_node.node_info n where n.queue_name = i_queue_name;
    if not found then
        ret_code := 404;
        ret_note := 'No such node: ' || i_queue_name;
        return;
    end if;
    select p.ret_code, p.ret_note
      into ret_code, ret_note
      from pgq_node.set_consumer_paused(i_queue_name, worker, i_paused) p;
end;
$$;
comment on function londiste._set_paused(text, boolean) is
    'have the node''s worker rest, or go on';

create or replace function londiste.pause(
    in i_queue_name text,
    out ret_code    int4,
    out ret_note    text)
returns record
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.pause(1)
--      Have the node's worker rest, after the batch that it has. It does when this has committed
--      and status() shows paused and uptodate.
-- Parameters, Returns, Errors, Locks, Tables: as _set_paused
-- ----------------------------------------------------------------------
    select p.ret_code, p.ret_note from londiste._set_paused(i_queue_name, true) p
$$;
comment on function londiste.pause(text) is 'have the node''s worker rest';

create or replace function londiste.resume(
    in i_queue_name text,
    out ret_code    int4,
    out ret_note    text)
returns record
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.resume(1)
--      Have the node's worker go on, when this has committed.
-- Parameters, Returns, Errors, Locks, Tables: as _set_paused
-- ----------------------------------------------------------------------
    select p.ret_code, p.ret_note from londiste._set_paused(i_queue_name, false) p
$$;
comment on function londiste.resume(text) is 'have the node''s worker go on';

create or replace function londiste.execute(
    in i_queue_name text,
    in i_script     text,
    in i_sql        text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.execute(3)
--      Run a script on the root, as the caller and with the caller's search_path; each worker runs
--      it then in its place among the changes, with the search_path of its own. Rows that it writes
--      are not captured: each node's script writes them. What it sets stays set here.
-- Parameters:
--      i_queue_name    queue
--      i_script        name of the script: each runs once in a database
--      i_sql           its statements
-- Returns:
--      200     Execute finished: SCRIPT
--      201     EXECUTE: "SCRIPT" already applied, skipping
--      401     Node is not root node: QUEUE
-- Errors: 22004 NULL argument; 42704 queue does not exist; 0A000 it begins or ends a transaction,
--      or has conditions (--*--), which pgq londiste INI execute takes; 55000 it leaves another
--      role behind; those of its statements
-- Locks: as its statements; the script's row in applied_execute
-- Tables: londiste.applied_execute, the queue's event table
-- ----------------------------------------------------------------------
declare
    former      pg_catalog.text := pg_catalog.current_setting('session_replication_role');
    runs_as     pg_catalog.name := current_user;
begin
    if i_queue_name is null or i_script is null or i_sql is null then
        raise exception 'queue, script and sql must not be null'
            using errcode = '22004';
    end if;
    if pg_catalog.strpos(i_sql, '--*--') operator(pg_catalog.>) 0 then
        raise exception 'script "%" has conditions', i_script
            using errcode = '0A000',
                  hint = 'Run it by "pgq londiste INI execute", which reads lines with --*--.';
    end if;
    select e.ret_code, e.ret_note
      into ret_code, ret_note
      from londiste.execute_start(i_queue_name, i_script, i_sql, true) e;
    if ret_code operator(pg_catalog.<>) 200 then
        return;
    end if;
    perform londiste.set_session_replication_role('local', true);
    execute i_sql;
    if current_user operator(pg_catalog.<>) runs_as then
        raise exception 'script "%" leaves another role behind', i_script
            using errcode = '55000',
                  hint = 'End it with RESET ROLE.';
    end if;
    -- What the script has deferred is the script's.
    set constraints all immediate;
    perform londiste.set_session_replication_role(former, true);
    select e.ret_code, e.ret_note
      into ret_code, ret_note
      from londiste.execute_finish(i_queue_name, i_script) e;
end;
$$;
comment on function londiste.execute(text, text, text) is
    'run a script on the root and on all nodes';

create or replace procedure londiste.wait_sync(
    i_queue_name    text,
    i_timeout       interval default null)
language plpgsql
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.wait_sync(2)
--      Wait until all tables of the node are in sync, without a transaction that lasts: not to be
--      called in one. It looks every 100 ms; cancel ends it.
-- Parameters:
--      i_queue_name    queue
--      i_timeout       longest time; null: as long as it takes
-- Errors: 22004 NULL queue; 42704 this database is no node of the queue; 55000 the time is over;
--      2D000 it is called in a transaction
-- Locks: none
-- Tables: londiste.table_info, pgq_node.node_info (read)
-- ----------------------------------------------------------------------
declare
    began   pg_catalog.timestamptz := pg_catalog.clock_timestamp();
    waits   pg_catalog.text;
begin
    perform londiste._check_chosen(i_queue_name, null, 1, null);
    loop
        select pg_catalog.string_agg(t.table_name, ', ' order by t.table_name)
          into waits
          from londiste.table_info t
         where t.queue_name operator(pg_catalog.=) i_queue_name
           and t.local
           and coalesce(t.merge_state, '') operator(pg_catalog.<>) 'ok';
        commit;
        exit when waits is null;
        if pg_catalog.clock_timestamp()
           operator(pg_catalog.>) (began operator(pg_catalog.+) i_timeout)
        then
            raise exception 'tables of queue "%" are not in sync: %', i_queue_name, waits
                using errcode = '55000',
                      hint = 'Look at londiste.status() and londiste.table_status().';
        end if;
        perform pg_catalog.pg_sleep(0.1);
    end loop;
end;
$$;
comment on procedure londiste.wait_sync(text, interval) is
    'wait until all tables of the node are in sync';
