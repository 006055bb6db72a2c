create or replace function pgq.quote_fqname(i_name text)
returns text
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.quote_fqname(1)
--      Quote a name for use in SQL. The first dot separates schema and object; without one, the
--      schema is public.
-- Parameters:
--      i_name  raw name
-- Returns: quoted schema.name
-- ----------------------------------------------------------------------
begin
    -- PL/pgSQL: a function in SQL that cannot be expanded into its query is planned anew in each
    -- transaction.
    return case
               when strpos(i_name, '.') > 0
                   then quote_ident(split_part(i_name, '.', 1)) || '.'
                        || quote_ident(substr(i_name, strpos(i_name, '.') + 1))
               else 'public.' || quote_ident(i_name)
           end;
end;
$$;
comment on function pgq.quote_fqname(text) is 'quote schema.name, split at the first dot';
