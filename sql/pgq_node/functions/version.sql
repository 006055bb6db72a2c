create or replace function pgq_node.version()
returns text
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.version(0)
--      Version of the extension.
-- Returns: extversion, or null when pgq_node is not installed as an extension
-- Locks: none
-- Tables: pg_catalog.pg_extension (read)
-- ----------------------------------------------------------------------
    select extversion from pg_catalog.pg_extension where extname = 'pgq_node'
$$;
comment on function pgq_node.version() is 'version of extension pgq_node';
