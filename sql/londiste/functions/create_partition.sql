create or replace function londiste._copy_to_partition(i_parent regclass, i_part regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._copy_to_partition(2)
--      Give a new partition its parent's owner, grants, triggers and rules, these enabled as there.
--      Where policies say who sees which rows of the parent, those of the partition are for its
--      owner: others reach them by the parent, whose policies then decide.
-- Parameters:
--      i_parent    parent
--      i_part      partition
-- ----------------------------------------------------------------------
declare
    owner           oid;
    has_policies    boolean;
    parent          text;
    r               record;
    head            text;
    rest            text;
begin
    select c.relowner, c.relrowsecurity, format('%I.%I', n.nspname, c.relname)
      into owner, has_policies, parent
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where c.oid = i_parent;
    if owner <> (select c.relowner from pg_class c where c.oid = i_part) then
        execute format('alter table %s owner to %s', i_part, owner::regrole);
    end if;
    if has_policies then
        execute format('alter table %s enable row level security', i_part);
    end if;

    for r in
        select a.privilege_type,
               case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as grantee,
               case when a.is_grantable then ' with grant option' else '' end as ending
          from pg_class c, aclexplode(c.relacl) a
         where c.oid = i_parent
           and a.grantee <> c.relowner
    loop
        execute format('grant %s on table %s to %s%s', r.privilege_type, i_part, r.grantee,
                       r.ending);
    end loop;

    -- Their definitions name the table after what they are called and when they fire.
    for r in
        select t.tgname as name, pg_get_triggerdef(t.oid) as def, t.tgenabled as enabled,
               'trigger' as kind, 'ON' as keyword
          from pg_trigger t
         where t.tgrelid = i_parent
           and not t.tgisinternal
         union all
        select w.rulename, pg_get_ruledef(w.oid), w.ev_enabled, 'rule', 'TO'
          from pg_rewrite w
         where w.ev_class = i_parent
         order by 4 desc, 1
    loop
        head := londiste._up_to_keyword(r.def, r.keyword);
        rest := substr(r.def, length(head) + 1);
        if starts_with(rest, parent) is not true then
            raise exception '% "%" of relation "%" has another definition than expected',
                r.kind, r.name, i_parent
                using errcode = 'XX000',
                      detail = r.def,
                      hint = 'Make the partition by hand; and please report this.';
        end if;
        execute head || i_part || substr(rest, length(parent) + 1);
        perform londiste._set_enabled(i_part, r.kind, r.name, r.enabled);
    end loop;
end;
$$;
comment on function londiste._copy_to_partition(regclass, regclass) is
    'give a new partition what its parent has';

create or replace function londiste.create_partition(
    i_table         text,
    i_part          text,
    i_pkeys         text,
    i_part_field    text,
    i_part_time     timestamptz,
    i_part_period   text)
returns int4
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
set datestyle = 'ISO'
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.create_partition(6)
--      Make a table that inherits from another, with its columns, defaults, constraints, indexes,
--      owner, grants, triggers and rules. With row level security there only the owner reads and
--      writes the partition itself. Several sessions may ask for the same one.
-- Parameters:
--      i_table         parent, a raw name
--      i_part          partition, a raw name
--      i_pkeys         not used
--      i_part_field    column with the time that the partition is for, to be checked; null or empty
--                      for no check
--      i_part_time     a time in the partition
--      i_part_period   its length: hour, day, week, month, quarter, year; they begin as the
--                      session's time zone has it
-- Returns: 1, or 0 if something is called so already, be it a view or an index
-- Errors:
--      22004   table or partition is null, or time or period with a column
--      42P01   no such parent
--      3F000   no such schema
--      42703   no such column
--      22023   no such period
-- Locks: share update exclusive on londiste.table_info; access exclusive on the partition, share
--      update exclusive on its parent
-- ----------------------------------------------------------------------
declare
    parent  regclass;
    part    text := londiste.quote_fqname(i_part);
    start   timestamptz;
    ending  timestamptz;
begin
    if i_table is null or i_part is null then
        raise exception 'need table and part'
            using errcode = '22004',
                  hint = 'The first two arguments must not be NULL.';
    end if;
    lock table londiste.table_info in share update exclusive mode;
    if to_regclass(part) is not null then
        return 0;
    end if;
    parent := londiste.find_table_oid(i_table);
    if parent is null then
        raise exception 'relation "%" does not exist', londiste.make_fqname(i_table)
            using errcode = '42P01',
                  hint = 'It has to be an ordinary table, and to be named with its schema unless'
                         ' that is public.';
    end if;

    execute format('create table %s (like %s including all) inherits (%s)', part, parent, parent);
    if i_part_field <> '' then
        if i_part_time is null or i_part_period is null then
            raise exception 'need time and period of partition "%"', i_part
                using errcode = '22004',
                      hint = 'They are what is checked of the column; without one none is.';
        end if;
        -- What is no period as a start is none as a length, or the other way round.
        begin
            start := date_trunc(i_part_period, i_part_time);
            ending := start + case
                                  when lower(i_part_period) = 'quarter' then interval '3 months'
                                  else ('1 ' || i_part_period)::interval
                              end;
        exception
            when invalid_parameter_value or invalid_datetime_format or feature_not_supported then
                raise exception 'bad period "%" of partition "%"', i_part_period, i_part
                    using errcode = '22023',
                          hint = 'It is hour, day, week, month, quarter or year.';
        end;
        execute format('alter table %s add check (%I >= %L and %I < %L)', part,
                       i_part_field, start, i_part_field, ending);
    end if;
    perform londiste._copy_to_partition(parent, part::regclass);
    return 1;
end;
$$;
comment on function londiste.create_partition(text, text, text, text, timestamptz, text) is
    'make a table that inherits from another, for a period of time';
