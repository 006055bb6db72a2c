-- Every function is for pgq_writer, and version() for everybody. The target database need not have
-- extension pgq, which makes the roles elsewhere.

do $$
declare
    role_name text;
begin
    foreach role_name in array array['pgq_reader', 'pgq_writer', 'pgq_admin'] loop
        if not exists (select 1 from pg_catalog.pg_roles where rolname = role_name) then
            begin
                execute format('create role %I', role_name);
                if role_name = 'pgq_admin' then
                    grant pgq_reader, pgq_writer to pgq_admin;
                end if;
            exception
                -- Another database of the cluster was faster.
                when duplicate_object or unique_violation then null;
            end;
        end if;
    end loop;
end;
$$;

grant usage on schema pgq_ext to public;

revoke all on all functions in schema pgq_ext from public, pgq_reader, pgq_writer, pgq_admin;

grant execute on function
    pgq_ext.upgrade_schema(),
    pgq_ext.is_batch_done(text, text, bigint),
    pgq_ext.is_batch_done(text, bigint),
    pgq_ext.set_batch_done(text, text, bigint),
    pgq_ext.set_batch_done(text, bigint),
    pgq_ext.is_event_done(text, text, bigint, bigint),
    pgq_ext.is_event_done(text, bigint, bigint),
    pgq_ext.set_event_done(text, text, bigint, bigint),
    pgq_ext.set_event_done(text, bigint, bigint),
    pgq_ext.get_last_tick(text, text),
    pgq_ext.get_last_tick(text),
    pgq_ext.set_last_tick(text, text, bigint),
    pgq_ext.set_last_tick(text, bigint)
to pgq_writer;

grant execute on function pgq_ext.version() to public;
