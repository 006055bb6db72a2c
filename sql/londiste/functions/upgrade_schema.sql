create or replace function londiste.upgrade_schema()
returns int4
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.upgrade_schema(0)
--      Bring tables of older versions to the present form, and make the roles londiste_writer and
--      londiste_reader if the cluster has none. Who may not make roles is told so, and goes on
--      without.
-- Returns: number of changes
-- Errors: 42501 when the caller does not own the tables
-- Locks: access exclusive on a table that changes
-- Tables: londiste.table_info, londiste.applied_execute
-- ----------------------------------------------------------------------
declare
    changes     int4 := 0;
    role_name   text;
    group_name  text;
begin
    if coalesce((
        select pg_get_constraintdef(c.oid) !~ 'dropped_ddl IS NULL.*in-copy.*catching-up'
          from pg_constraint c
         where c.conrelid = 'londiste.table_info'::regclass
           and c.conname = 'table_info_check'), true)
    then
        alter table londiste.table_info drop constraint if exists table_info_check;
        alter table londiste.table_info add constraint table_info_check
            check (dropped_ddl is null or merge_state in ('in-copy', 'catching-up'));
        changes := changes + 1;
    end if;

    if not exists (
        select 1
          from pg_attribute
         where attrelid = 'londiste.table_info'::regclass
           and attname = 'dest_table'
           and not attisdropped)
    then
        alter table londiste.table_info add column dest_table text;
        changes := changes + 1;
    end if;

    -- A row's trigger before it is deleted: once there was one after it.
    if not exists (
        select 1
          from pg_trigger
         where tgrelid = 'londiste.table_info'::regclass
           and tgname = 'table_info_trigger_sync'
           and tgtype = 1 | 2 | 8)
    then
        drop trigger if exists table_info_trigger_sync on londiste.table_info;
        create trigger table_info_trigger_sync before delete on londiste.table_info
            for each row execute function londiste.table_info_trigger();
        changes := changes + 1;
    end if;

    if not exists (
        select 1
          from pg_attribute
         where attrelid = 'londiste.applied_execute'::regclass
           and attname = 'execute_attrs'
           and not attisdropped)
    then
        alter table londiste.applied_execute add column execute_attrs text;
        changes := changes + 1;
    end if;

    -- A script runs once in a database, whichever queue brings it.
    if (
        select cardinality(c.conkey)
          from pg_constraint c
         where c.conrelid = 'londiste.applied_execute'::regclass
           and c.contype = 'p') > 1
    then
        -- What two queues brought was applied when the first of them did.
        delete from londiste.applied_execute a
         using londiste.applied_execute b
         where a.execute_file = b.execute_file
           and (a.execute_time, a.queue_name) > (b.execute_time, b.queue_name);
        alter table londiste.applied_execute drop constraint applied_execute_pkey;
        alter table londiste.applied_execute add constraint applied_execute_pkey
            primary key (execute_file);
        changes := changes + 1;
    end if;
    if exists (
        select 1
          from pg_constraint c
         where c.conrelid = 'londiste.applied_execute'::regclass
           and c.conname = 'applied_execute_queue_name_fkey')
    then
        alter table londiste.applied_execute drop constraint applied_execute_queue_name_fkey;
        changes := changes + 1;
    end if;

    for role_name, group_name in values ('londiste_writer', 'pgq_admin'),
                                        ('londiste_reader', 'pgq_reader')
    loop
        if exists (select 1 from pg_roles r where r.rolname = role_name) then
            continue;
        end if;
        begin
            execute format('create role %I in role %I', role_name, group_name);
            changes := changes + 1;
        exception
            -- Another database of the cluster was faster.
            when duplicate_object or unique_violation then null;
            when insufficient_privilege then
                raise notice 'role "%" does not exist', role_name
                    using hint = format('Somebody who may can CREATE ROLE %I IN ROLE %I, and'
                                        ' run the grants at the end of the extension''s script.',
                                        role_name, group_name);
        end;
    end loop;
    return changes;
end;
$$;
comment on function londiste.upgrade_schema() is
    'bring tables of older versions to the present form, and make the roles; number of changes';
