-- What happens to rows of londiste.worker, and to options of londiste_fdw.

create or replace function londiste._worker_identity()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._worker_identity(0)
--      Whoever writes a row of londiste.worker lets a process run as himself, and as nobody else:
--      in this database, and not in a copy of it. A change that leaves role, queue and database
--      alone leaves the role as well.
-- Returns: the row
-- Tables: pg_catalog.pg_database, pg_roles (read)
-- ----------------------------------------------------------------------
declare
    here_database   oid;
    here_system     int8;
begin
    select d.oid, s.system_identifier
      into here_database, here_system
      from pg_database d, pg_control_system() s
     where d.datname = current_database();
    if tg_op = 'UPDATE'
       and (new.nr, new.queue_name, new.worker_role) = (old.nr, old.queue_name, old.worker_role)
       and (old.database_oid, old.system_id) = (here_database, here_system)
    then
        new.database_oid := old.database_oid;
        new.system_id := old.system_id;
        return new;
    end if;
    -- By name: a cast to regrole reads syntax, and a role may be called "10".
    select r.oid into strict new.worker_role from pg_roles r where r.rolname = current_user;
    new.database_oid := here_database;
    new.system_id := here_system;
    return new;
end;
$$;
comment on function londiste._worker_identity() is
    'trigger: a row of londiste.worker is for whoever writes it, and for this database';

create or replace function londiste._workers_changed()
returns trigger
language c
-- ----------------------------------------------------------------------
-- Function: londiste._workers_changed(0)
--      Have the database's pgq worker look at londiste.worker when the transaction has committed.
-- Returns: null
-- ----------------------------------------------------------------------
as 'pgq', 'londiste_workers_changed';
comment on function londiste._workers_changed() is
    'trigger: have londiste.worker looked at after the commit';

create or replace function londiste._check_server_options(i_options text[], i_catalog oid)
returns void
language c
-- ----------------------------------------------------------------------
-- Function: londiste._check_server_options(2)
--      The validator of londiste_fdw: options are those of libpq. Passwords and user names belong
--      to a user mapping; where the server is, to the server, and to nothing else.
-- Parameters:
--      i_options   key=value
--      i_catalog   whose options they are
-- Errors: HV00D an option that libpq does not have, or that has no place there; 22004 NULL
--      argument; 58P01 no libpq
-- ----------------------------------------------------------------------
as 'pgq', 'londiste_check_server_options';
comment on function londiste._check_server_options(text[], oid) is 'validator of londiste_fdw';
