-- Names on the queue are raw: schema.object, split at the first dot.

create or replace function londiste.make_fqname(i_name text)
returns text
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.make_fqname(1)
--      The full name of an object. Without a dot, the schema is public.
-- Parameters:
--      i_name  raw name
-- Returns: raw schema.object
-- ----------------------------------------------------------------------
begin
    return case when strpos(i_name, '.') > 0 then i_name else 'public.' || i_name end;
end;
$$;
comment on function londiste.make_fqname(text) is 'full name of an object, in public if not said';

create or replace function londiste.split_fqname(
    in i_fqname     text,
    out schema_part text,
    out name_part   text)
returns record
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.split_fqname(1)
--      Split a raw name at its first dot. Without one, the schema is public.
-- Parameters:
--      i_fqname    raw name
-- Returns: schema and object, raw
-- ----------------------------------------------------------------------
declare
    dot int4 := strpos(i_fqname, '.');
begin
    schema_part := case when dot > 0 then left(i_fqname, dot - 1) else 'public' end;
    name_part := substr(i_fqname, dot + 1);
end;
$$;
comment on function londiste.split_fqname(text) is 'split schema.object at the first dot';

create or replace function londiste.quote_fqname(i_name text)
returns text
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.quote_fqname(1)
--      Quote a name for use in SQL. Without a dot, the schema is public.
-- Parameters:
--      i_name  raw name
-- Returns: quoted schema.object
-- ----------------------------------------------------------------------
begin
    return (select format('%I.%I', s.schema_part, s.name_part)
              from londiste.split_fqname(i_name) s);
end;
$$;
comment on function londiste.quote_fqname(text) is 'quote schema.object, split at the first dot';
