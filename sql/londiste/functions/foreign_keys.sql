-- Foreign keys stand in the way of initial copies: they are dropped, noted, and restored when both
-- of their tables are in sync.

create or replace function londiste.find_table_fkeys(i_table_name text)
returns setof londiste.pending_fkeys
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.find_table_fkeys(1)
--      Foreign keys from and to a table.
-- Parameters:
--      i_table_name    the table here, a raw name
-- Returns: a row a key, by its tables and name; fkey_def is the whole statement that makes it, with
--      all names qualified. Those that a partition has of its parent are left out, and those of
--      tables that no raw name says: where the schema has a dot in its name, it is another table's
-- Locks: none
-- Tables: pg_catalog.pg_constraint, pg_class, pg_namespace (read)
-- ----------------------------------------------------------------------
declare
    relation    oid := londiste.find_table_oid(i_table_name);
begin
    return query
    select fn.nspname || '.' || f.relname, tn.nspname || '.' || t.relname, c.conname::text,
           format('alter table only %I.%I add constraint %I %s', fn.nspname, f.relname, c.conname,
                  pg_get_constraintdef(c.oid))
      from pg_constraint c
      join pg_class f on f.oid = c.conrelid
      join pg_namespace fn on fn.oid = f.relnamespace
      join pg_class t on t.oid = c.confrelid
      join pg_namespace tn on tn.oid = t.relnamespace
     where c.contype = 'f'
       and c.conparentid = 0
       and relation in (c.conrelid, c.confrelid)
       and strpos(fn.nspname || tn.nspname, '.') = 0
     order by 1, 2, 3;
end;
$$;
comment on function londiste.find_table_fkeys(text) is 'foreign keys from and to a table';

create or replace function londiste.drop_table_fkey(i_from_table text, i_fkey_name text)
returns int4
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.drop_table_fkey(2)
--      Drop a foreign key and note it in pending_fkeys.
-- Parameters:
--      i_from_table    the table that has it, a raw name
--      i_fkey_name     name of the key
-- Returns: 1, or 0 if there is no such key
-- Errors: 42501 when the caller does not own the table
-- Locks: access exclusive on both of its tables
-- Tables: londiste.pending_fkeys
-- ----------------------------------------------------------------------
begin
    insert into londiste.pending_fkeys as p (from_table, to_table, fkey_name, fkey_def)
    select k.from_table, k.to_table, k.fkey_name, k.fkey_def
      from londiste.find_table_fkeys(i_from_table) k
     where k.from_table = londiste.make_fqname(i_from_table)
       and k.fkey_name = i_fkey_name
        on conflict (from_table, fkey_name) do update
       set to_table = excluded.to_table,
           fkey_def = excluded.fkey_def;
    if not found then
        return 0;
    end if;
    execute format('alter table only %s drop constraint %I', londiste.quote_fqname(i_from_table),
                   i_fkey_name);
    return 1;
end;
$$;
comment on function londiste.drop_table_fkey(text, text) is
    'drop a foreign key, and note it to be restored';

create or replace function londiste._qualified_fkey(i_fkey_def text, i_to_table text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._qualified_fkey(2)
--      A noted definition with the schema of the table that the key refers to. Upstream left it out
--      where the search path of whoever dropped the key did not need it; updates and dumps bring
--      such rows.
-- Parameters:
--      i_fkey_def  statement
--      i_to_table  the table, a raw name
-- Returns: statement
-- ----------------------------------------------------------------------
declare
    head    text := londiste._up_to_keyword(i_fkey_def, 'REFERENCES');
    rest    text := substr(i_fkey_def, length(head) + 1);
    alone   text := substring(rest from '^(?:"(?:[^"]|"")+"|[^"(.]+)(?=\()');
begin
    if alone is null then
        return i_fkey_def;
    end if;
    return head || londiste.quote_fqname(i_to_table) || substr(rest, length(alone) + 1);
end;
$$;
comment on function londiste._qualified_fkey(text, text) is
    'definition of a foreign key with the schema of the table that it refers to';

create or replace function londiste.restore_table_fkey(
    i_from_table    text,
    i_fkey_name     text,
    i_lazy          boolean default false)
returns text
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.restore_table_fkey(3)
--      Make a noted foreign key again. With i_lazy the caller does the work, so that it can commit
--      between making the key and looking at all rows: it runs what is returned, commits, and calls
--      again until nothing is returned.
-- Parameters:
--      i_from_table    the table that had it, a raw name
--      i_fkey_name     name of the key
--      i_lazy          return the next statement instead of running it
-- Returns: a statement; empty when the key is there, or was not noted
-- Errors: 42P01 a table is gone; 23503 rows violate the key; 42501 when the caller does not own the
--      table
-- Locks: the noted row; unless i_lazy, share row exclusive on both of its tables
-- Tables: londiste.pending_fkeys
-- ----------------------------------------------------------------------
declare
    key     londiste.pending_fkeys;
    present pg_constraint;
    final   boolean;
begin
    select p.*
      into key
      from londiste.pending_fkeys p
     where p.from_table = londiste.make_fqname(i_from_table)
       and p.fkey_name = i_fkey_name
       for update;
    if not found then
        return '';
    end if;
    key.fkey_def := londiste._qualified_fkey(key.fkey_def, key.to_table);

    select c.*
      into present
      from pg_constraint c
     where c.conrelid = londiste.find_table_oid(key.from_table)
       and c.conname = key.fkey_name
       and c.contype = 'f';
    if not found and not i_lazy then
        execute key.fkey_def;
    elsif i_lazy then
        -- One that had not been valid, or not been enforced, goes back as it was.
        final := key.fkey_def ~ ' NOT (VALID|ENFORCED)$';
        if present.oid is null then
            return case when final then key.fkey_def else key.fkey_def || ' not valid' end;
        elsif not present.convalidated and not final then
            return format('alter table only %s validate constraint %I',
                          londiste.quote_fqname(key.from_table), key.fkey_name);
        end if;
    end if;
    delete from londiste.pending_fkeys p
     where p.from_table = key.from_table
       and p.fkey_name = key.fkey_name;
    return '';
end;
$$;
comment on function londiste.restore_table_fkey(text, text, boolean) is
    'make a noted foreign key again, or say the next statement that does';
