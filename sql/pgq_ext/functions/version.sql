create or replace function pgq_ext.version()
returns text
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.version(0)
--      Version of the extension.
-- Returns: extversion, or null when pgq_ext is not installed as an extension
-- Locks: none
-- Tables: pg_catalog.pg_extension (read)
-- ----------------------------------------------------------------------
    select extversion from pg_catalog.pg_extension where extname = 'pgq_ext'
$$;
comment on function pgq_ext.version() is 'version of extension pgq_ext';
