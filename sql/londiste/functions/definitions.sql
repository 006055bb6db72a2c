-- What stands in definitions, and is to be made again, of the same table or another.

create or replace function londiste._up_to_keyword(i_def text, i_keyword text)
returns text
language sql
immutable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._up_to_keyword(2)
--      The beginning of a definition, up to a keyword. Names are their owners' choice, and may have
--      the keyword, brackets and statements in them: what stands within quotes is passed over.
-- Parameters:
--      i_def       definition, with names quoted where they have to be
--      i_keyword   word in capitals, which a name has only within quotes
-- Returns: up to the first such word and the blank after it, null if there is none
-- ----------------------------------------------------------------------
    select substring(i_def from '^(?:[^"]|"(?:[^"]|"")*")*? ' || i_keyword || ' ')
$$;
comment on function londiste._up_to_keyword(text, text) is
    'beginning of a definition, up to a keyword that is not within quotes';

create or replace function londiste._set_enabled(
    i_table     regclass,
    i_kind      text,
    i_name      text,
    i_enabled   "char")
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._set_enabled(4)
--      Enable a new trigger or rule as another one is.
-- Parameters:
--      i_table     its table
--      i_kind      trigger or rule
--      i_name      its name
--      i_enabled   pg_trigger.tgenabled or pg_rewrite.ev_enabled; null for enabled as new ones are
-- Errors: 42501 when the caller does not own the table
-- Locks: share row exclusive on the table, if there is something to be done
-- ----------------------------------------------------------------------
begin
    if i_enabled <> 'O' then
        execute format(
            'alter table %s %s %s %I', i_table,
            case i_enabled
                when 'D' then 'disable'
                when 'A' then 'enable always'
                when 'R' then 'enable replica'
            end, i_kind, i_name);
    end if;
end;
$$;
comment on function londiste._set_enabled(regclass, text, text, "char") is
    'enable a new trigger or rule as another one is';
