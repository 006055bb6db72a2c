create or replace function pgq.upgrade_schema()
returns int4
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.upgrade_schema(0)
--      Bring tables of an older installation up to date and create the roles that are missing.
-- Returns: 0, always: callers of PgQ expect it.
-- Locks: access exclusive on pgq.subscription or pgq.queue, only when something is missing.
-- Tables: pgq.subscription, pgq.queue, roles of the cluster
-- ----------------------------------------------------------------------
declare
    role_name text;
begin
    perform 1
       from pg_catalog.pg_attribute a
      where a.attrelid = 'pgq.subscription'::regclass
        and a.attname = 'sub_last_tick'
        and a.attnotnull;
    if found then
        alter table pgq.subscription alter column sub_last_tick drop not null;
    end if;

    perform 1
       from pg_catalog.pg_attribute a
      where a.attrelid = 'pgq.queue'::regclass
        and a.attname = 'queue_extra_maint'
        and not a.attisdropped;
    if not found then
        alter table pgq.queue add column queue_extra_maint text[];
    end if;

    -- Roles belong to the cluster: another database may be creating them at this moment.
    foreach role_name in array array['pgq_reader', 'pgq_writer', 'pgq_admin'] loop
        perform 1 from pg_catalog.pg_roles r where r.rolname = role_name;
        if not found then
            begin
                if role_name = 'pgq_admin' then
                    create role pgq_admin in role pgq_reader, pgq_writer;
                else
                    execute format('create role %I', role_name);
                end if;
            exception
                when duplicate_object or unique_violation then
                    null;
            end;
        end if;
    end loop;

    return 0;
end;
$$;
comment on function pgq.upgrade_schema() is 'bring old tables up to date and create missing roles';
