create or replace function @EXTENSION@.version()
returns text
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: @EXTENSION@.version(0)
--      Version of the extension.
-- Returns: extversion, or null when @EXTENSION@ is not installed as an extension
-- Locks: none
-- Tables: pg_catalog.pg_extension (read)
-- ----------------------------------------------------------------------
    select extversion from pg_catalog.pg_extension where extname = '@EXTENSION@'
$$;
comment on function @EXTENSION@.version() is 'version of extension @EXTENSION@';
