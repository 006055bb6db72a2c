create or replace function pgq.quote_fqname(i_name text)
returns text as $$
-- ----------------------------------------------------------------------
-- Function: pgq.quote_fqname(1)
--      Quote a name for use in SQL. The first dot separates schema and object; without one, the schema is public.
-- Parameters: i_name - raw name
-- Returns: quoted schema.name
-- ----------------------------------------------------------------------
    select case
               when strpos($1, '.') > 0
                   then quote_ident(split_part($1, '.', 1)) || '.' || quote_ident(substr($1, strpos($1, '.') + 1))
               else 'public.' || quote_ident($1)
           end;
$$ language sql strict immutable;

comment on function pgq.quote_fqname(text) is 'quote schema.name, split at the first dot';
