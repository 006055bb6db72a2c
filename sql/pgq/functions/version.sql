create or replace function pgq.version()
returns text as $$
-- ----------------------------------------------------------------------
-- Function: pgq.version(0)
--      Version of the installed extension.
-- Returns: text, NULL when pgq is not installed as an extension
-- Tables: pg_catalog.pg_extension
-- ----------------------------------------------------------------------
    select e.extversion
      from pg_catalog.pg_extension e
     where e.extname = 'pgq';
$$ language sql set search_path = pg_catalog, pg_temp set jit = off;

comment on function pgq.version() is 'version of the installed extension';
