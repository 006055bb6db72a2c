-- Partitions of create_partition whose time is over, which their names say.

create or replace function londiste.is_obsolete_partition(
    i_partition_table   text,
    i_retention_period  interval,
    i_partition_period  text)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.is_obsolete_partition(3)
--      True if a partition is older than the one of the time that is kept.
-- Parameters:
--      i_partition_table   partition, whose name ends with _YYYY, _YYYY_MM, _YYYY_MM_DD or
--                          _YYYY_MM_DD_HH24 as its period has it
--      i_retention_period  what is kept, back from now; null keeps all
--      i_partition_period  its length: hour, day, month, year; also hourly, daily and so on
-- Returns: null if the name is null, or does not end so
-- Errors: 22023 not supported i_partition_period: PERIOD
-- ----------------------------------------------------------------------
declare
    ending  text;
    form    text;
begin
    select p.ending, p.form
      into ending, form
      from (values ('hour', 'hourly', '_\d{4}_\d{2}_\d{2}_\d{2}$', '_YYYY_MM_DD_HH24'),
                   ('day', 'daily', '_\d{4}_\d{2}_\d{2}$', '_YYYY_MM_DD'),
                   ('month', 'monthly', '_\d{4}_\d{2}$', '_YYYY_MM'),
                   ('year', 'yearly', '_\d{4}$', '_YYYY')) p (period, adverb, ending, form)
     where i_partition_period in (p.period, p.adverb);
    if not found then
        raise exception 'not supported i_partition_period: %', i_partition_period
            using errcode = '22023',
                  hint = 'It is hour, day, month or year.';
    end if;
    if i_partition_table ~ ending is not true then
        return null;
    end if;
    return coalesce(substring(i_partition_table from ending) collate "C"
                    < to_char(current_timestamp - i_retention_period, form), false);
end;
$$;
comment on function londiste.is_obsolete_partition(text, interval, text) is
    'true if a partition''s time is over';

create or replace function londiste.list_obsolete_partitions(
    i_parent_table      text,
    i_retention_period  interval,
    i_partition_period  text)
returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.list_obsolete_partitions(3)
--      The partitions of a table whose time is over.
-- Parameters:
--      i_parent_table      parent, a raw name
--      i_retention_period  what is kept, back from now
--      i_partition_period  length of its partitions, see is_obsolete_partition
-- Returns: quoted names, in their order; none if there is no such table
-- Errors: 22023 not supported i_partition_period: PERIOD
-- Locks: none
-- Tables: pg_catalog.pg_inherits, pg_class (read)
-- ----------------------------------------------------------------------
begin
    return query
    select format('%I.%I', n.nspname, c.relname)
      from pg_inherits h
      join pg_class c on c.oid = h.inhrelid
      join pg_namespace n on n.oid = c.relnamespace
     where h.inhparent = londiste.find_table_oid(i_parent_table)
       and londiste.is_obsolete_partition(n.nspname || '.' || c.relname, i_retention_period,
                                          i_partition_period)
     order by 1;
end;
$$;
comment on function londiste.list_obsolete_partitions(text, interval, text) is
    'the partitions of a table whose time is over';

create or replace function londiste.drop_obsolete_partitions(
    i_parent_table      text,
    i_retention_period  interval,
    i_partition_period  text)
returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.drop_obsolete_partitions(3)
--      Drop the partitions of a table whose time is over. Several sessions may do so.
-- Parameters:
--      i_parent_table      parent, a raw name
--      i_retention_period  what is kept, back from now
--      i_partition_period  length of its partitions, see is_obsolete_partition
-- Returns: quoted names of what was dropped
-- Errors: 22023 not supported i_partition_period: PERIOD; 42501 when the caller does not own one;
--      2BP01 something depends on one
-- Locks: access exclusive on the partitions
-- ----------------------------------------------------------------------
declare
    part    text;
begin
    for part in
        select o.name
          from londiste.list_obsolete_partitions(i_parent_table, i_retention_period,
                                                 i_partition_period) o (name)
    loop
        begin
            execute 'drop table ' || part;
        exception
            -- Another session was faster.
            when undefined_table then continue;
        end;
        return next part;
    end loop;
end;
$$;
comment on function londiste.drop_obsolete_partitions(text, interval, text) is
    'drop the partitions of a table whose time is over';
