create or replace function londiste._table_options(
    in i_trg_args       text[],
    in i_table_attrs    text,
    out is_synced       boolean,
    out is_virtual      boolean,
    out merge_all       boolean,
    out no_merge        boolean,
    out table_attrs     text)
returns record
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._table_options(2)
--      Those of the words among a trigger's arguments that are about the table.
-- Parameters:
--      i_trg_args      arguments
--      i_table_attrs   urlencoded attributes
-- Returns:
--      is_synced       expect_sync, or the table is virtual
--      is_virtual      virtual_table
--      merge_all, no_merge
--                      the words
--      table_attrs     the attributes, with skip_truncate=1 if the word is there
-- ----------------------------------------------------------------------
declare
    words   text[] := array(
        select lower(w.word) from unnest(i_trg_args) w (word) where w.word is not null);
begin
    is_virtual := 'virtual_table' = any (words);
    is_synced := is_virtual or 'expect_sync' = any (words);
    merge_all := 'merge_all' = any (words);
    no_merge := 'no_merge' = any (words);
    table_attrs := i_table_attrs;
    if 'skip_truncate' = any (words)
       and coalesce(i_table_attrs, '') !~ '(^|&)skip_truncate=1(&|$)'
    then
        table_attrs := concat_ws('&', nullif(i_table_attrs, ''), 'skip_truncate=1');
    end if;
end;
$$;
comment on function londiste._table_options(text[], text) is
    'words among a trigger''s arguments that are about the table';

create or replace function londiste._earlier_triggers(i_table oid, i_trigger name)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._earlier_triggers(2)
--      Triggers of others that fire after a row's change and before ours: changes that they make
--      elsewhere are captured before the row's own.
-- Parameters:
--      i_table     table
--      i_trigger   ours, which fires after rows
-- Returns: their names with commas between, null if there is none
-- Locks: none
-- Tables: pg_catalog.pg_trigger (read)
-- ----------------------------------------------------------------------
    select string_agg(t.tgname, ', ' order by t.tgname)
      from pg_trigger t
      join pg_trigger ours on ours.tgrelid = t.tgrelid and ours.tgname = i_trigger
     where t.tgrelid = i_table
       and ours.tgtype & 2 = 0
       and t.tgtype & (1 | 2 | 64) = 1
       and not t.tgisinternal
       and t.tgname < i_trigger
       and t.tgname !~ '^(zzz_)?_londiste_'
$$;
comment on function londiste._earlier_triggers(oid, name) is
    'triggers of others that fire before ours';
