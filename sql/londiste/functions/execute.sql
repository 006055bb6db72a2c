-- EXECUTE: a script runs on the root and then, as an event among the data, on every node.

create or replace function londiste.execute_start(
    in i_queue_name     text,
    in i_file_name      text,
    in i_sql            text,
    in i_expect_root    boolean,
    in i_attrs          text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.execute_start(5)
--      Note that a script runs here, before it does; in one transaction with it. Whoever runs the
--      same at the same time waits for that transaction.
-- Parameters:
--      i_queue_name    queue
--      i_file_name     name of the script: each runs once in a database, whichever queue brings it
--      i_sql           its text
--      i_expect_root   refuse if this is not the root
--      i_attrs         urlencoded conditions on which it runs, or null
-- Returns:
--      200     Executing: SCRIPT
--      201     EXECUTE: "SCRIPT" already applied, skipping
--      401     Node is not root node: QUEUE
-- Errors: 42704 queue does not exist: QUEUE; 23502 script or text is null
-- Locks: the script's row in applied_execute
-- Tables: londiste.applied_execute
-- ----------------------------------------------------------------------
begin
    if not pgq_node.is_root_node(i_queue_name) and i_expect_root then
        ret_code := 401;
        ret_note := format('Node is not root node: %s', i_queue_name);
        return;
    end if;
    insert into londiste.applied_execute (queue_name, execute_file, execute_sql, execute_attrs)
    values (i_queue_name, i_file_name, i_sql, i_attrs)
        on conflict do nothing;
    if found then
        ret_code := 200;
        ret_note := 'Executing: ' || i_file_name;
    else
        ret_code := 201;
        ret_note := format('EXECUTE: "%s" already applied, skipping', i_file_name);
    end if;
end;
$$;
comment on function londiste.execute_start(text, text, text, boolean, text) is
    'note that a script runs here, once';

create or replace function londiste.execute_start(
    in i_queue_name     text,
    in i_file_name      text,
    in i_sql            text,
    in i_expect_root    boolean,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.execute_start(4)
--      As execute_start(5), without conditions.
-- ----------------------------------------------------------------------
begin
    select e.ret_code, e.ret_note
      into ret_code, ret_note
      from londiste.execute_start(i_queue_name, i_file_name, i_sql, i_expect_root, null) e;
end;
$$;
comment on function londiste.execute_start(text, text, text, boolean) is
    'note that a script runs here, without conditions';

create or replace function londiste.execute_finish(
    in i_queue_name text,
    in i_file_name  text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.execute_finish(2)
--      The script has run. On the root it is published.
-- Parameters:
--      i_queue_name    queue
--      i_file_name     name of the script
-- Returns:
--      200     Execute finished: SCRIPT
--      404     execute_file called without execute_start
-- Errors: 42704 queue does not exist: QUEUE; on the root those of pgq.insert_event
-- Locks: none
-- Tables: londiste.applied_execute (read); on the root the queue's event table
-- ----------------------------------------------------------------------
declare
    on_root boolean := pgq_node.is_root_node(i_queue_name);
    script  londiste.applied_execute;
begin
    select a.* into script from londiste.applied_execute a where a.execute_file = i_file_name;
    if not found then
        ret_code := 404;
        ret_note := 'execute_file called without execute_start';
        return;
    end if;
    if on_root then
        perform pgq.insert_event(i_queue_name, 'EXECUTE', script.execute_sql, i_file_name,
                                 script.execute_attrs, null, null);
    end if;
    ret_code := 200;
    ret_note := 'Execute finished: ' || i_file_name;
end;
$$;
comment on function londiste.execute_finish(text, text) is 'a script has run: publish it';

create or replace function londiste.periodic_maintenance()
returns int4
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.periodic_maintenance(0)
--      Forget scripts that ran more than three months ago. Called by maintenance.
-- Returns: 0
-- Locks: the rows that go
-- Tables: londiste.applied_execute
-- ----------------------------------------------------------------------
begin
    delete from londiste.applied_execute
     where execute_time < current_timestamp - interval '3 months';
    return 0;
end;
$$;
comment on function londiste.periodic_maintenance() is 'forget scripts that ran long ago';

create or replace function londiste.root_notify_change(
    i_queue_name    text,
    i_ev_type       text,
    i_ev_data       text)
returns int4
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.root_notify_change(3)
--      Publish an event of londiste's own.
-- Parameters:
--      i_queue_name    queue
--      i_ev_type       type
--      i_ev_data       data
-- Returns: 1
-- Errors: 42704 queue does not exist: QUEUE; 55000 this node is not the root; those of
--      pgq.insert_event
-- Locks: none
-- Tables: the queue's event table
-- ----------------------------------------------------------------------
begin
    if not pgq_node.is_root_node(i_queue_name) then
        raise exception 'only root node can send events'
            using errcode = '55000',
                  hint = format('See pgq_node.get_node_info(%L) for the node that this is.',
                                i_queue_name);
    end if;
    perform pgq.insert_event(i_queue_name, i_ev_type, i_ev_data);
    return 1;
end;
$$;
comment on function londiste.root_notify_change(text, text, text) is
    'publish an event of londiste''s own';
