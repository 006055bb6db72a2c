-- Tables, sequences and trigger functions of the database by the names that the queue has for them.

create or replace function londiste.find_rel_oid(i_fqname text, i_kind text)
returns oid
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.find_rel_oid(2)
--      Find a relation.
-- Parameters:
--      i_fqname    raw name; without a dot, the schema is public
--      i_kind      its pg_class.relkind
-- Returns: oid, or null if there is none
-- Locks: none
-- Tables: pg_catalog.pg_class, pg_namespace (read)
-- ----------------------------------------------------------------------
begin
    return (
        select c.oid
          from londiste.split_fqname(i_fqname) s
          join pg_namespace n on n.nspname = s.schema_part
          join pg_class c on c.relnamespace = n.oid
         where c.relname = s.name_part
           and c.relkind::text = i_kind);
end;
$$;
comment on function londiste.find_rel_oid(text, text) is 'find a relation by name and kind';

create or replace function londiste.find_table_oid(tbl text)
returns oid
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.find_table_oid(1)
--      Find an ordinary table. Partitioned tables are not found: workers of today copy and change
--      with ONLY, which leaves their rows out.
-- Parameters:
--      tbl     raw name; without a dot, the schema is public
-- Returns: oid, or null if there is none
-- ----------------------------------------------------------------------
begin
    return londiste.find_rel_oid(tbl, 'r');
end;
$$;
comment on function londiste.find_table_oid(text) is 'find an ordinary table by name';

create or replace function londiste.find_seq_oid(seq text)
returns oid
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.find_seq_oid(1)
--      Find a sequence.
-- Parameters:
--      seq     raw name; without a dot, the schema is public
-- Returns: oid, or null if there is none
-- ----------------------------------------------------------------------
begin
    return londiste.find_rel_oid(seq, 'S');
end;
$$;
comment on function londiste.find_seq_oid(text) is 'find a sequence by name';

create or replace function londiste.find_column_types(tbl text)
returns text
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.find_column_types(1)
--      Which columns of a table are its primary key.
-- Parameters:
--      tbl     raw name; without a dot, the schema is public
-- Returns: a letter a column, in their order: k of the primary key, v else; nothing if there is
--      no such table
-- Locks: none
-- Tables: pg_catalog.pg_attribute, pg_index (read)
-- ----------------------------------------------------------------------
declare
    relation    oid := londiste.find_table_oid(tbl);
begin
    return (
        select coalesce(string_agg(
                   case
                       when a.attnum = any ((k.indkey::int2[])[0:k.indnkeyatts - 1]) then 'k'
                       else 'v'
                   end, '' order by a.attnum), '')
          from pg_attribute a
          left join pg_index k on k.indrelid = a.attrelid and k.indisprimary
         where a.attrelid = relation
           and a.attnum > 0
           and not a.attisdropped);
end;
$$;
comment on function londiste.find_column_types(text) is
    'a letter a column of a table: k of the primary key, v else';

create or replace function londiste.is_replica_func(func_oid oid)
returns boolean
language sql
stable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.is_replica_func(1)
--      True if a function is one of the triggers that write changes into a queue.
-- Parameters:
--      func_oid    pg_proc.oid
-- Returns: true for pgq.sqltriga, pgq.logutriga and pgq.jsontriga
-- Locks: none
-- Tables: pg_catalog.pg_proc, pg_namespace (read)
-- ----------------------------------------------------------------------
    select exists (
        select 1
          from pg_proc p
          join pg_namespace n on n.oid = p.pronamespace
         where p.oid = func_oid
           and n.nspname = 'pgq'
           and p.proname in ('sqltriga', 'logutriga', 'jsontriga'))
$$;
comment on function londiste.is_replica_func(oid) is
    'true if a trigger function writes changes into a queue';
