-- Schema "trap" has a double of whatever a query can name without its schema: functions, operators,
-- types, tables and views. Whoever takes one of them moves the sequence trap.caught, which no
-- rollback undoes, and gets an error.
create schema trap;
create sequence trap.caught;
grant usage on schema trap to public;
grant usage on sequence trap.caught to public;

do $$
declare
    r record;
begin
    -- Exact doubles of the built-in functions and aggregates, but for what plpgsql cannot declare.
    for r in
        select p.oid, p.proname, p.proretset, pg_catalog.format_type(p.prorettype, null) as result,
               (select string_agg(pg_catalog.format_type(a, null), ', ' order by n)
                  from unnest(p.proargtypes) with ordinality t (a, n)) as arguments
          from pg_proc p
         where p.pronamespace = 'pg_catalog'::regnamespace
           and p.prokind in ('f', 'a')
           and p.prorettype <> all (array['internal', 'cstring', 'trigger', 'event_trigger',
               'language_handler',
                                          'index_am_handler', 'table_am_handler', 'fdw_handler',
                                              'tsm_handler']::regtype[])
           and not exists (
                   select 1
                     from unnest(p.proargtypes) a
                    where a in ('internal'::regtype, 'cstring'::regtype, '"any"'::regtype,
                        'pg_ddl_command'::regtype))
    loop
        begin
            execute format('create function trap.%I(%s) returns %s %s language plpgsql set'
                ' search_path = pg_catalog as'
                           ' %L', r.proname, r.arguments, case when r.proretset then 'setof' end,
                               r.result,
                           format('begin perform nextval(''trap.caught''); raise'
                               ' exception ''trapped by function %s''; end',
                                  r.proname));
        exception
            -- polymorphic results without an argument that says what they are
            when others then null;
        end;
    end loop;

    -- Functions of any number of arguments of any type lose against an exact match in every schema.
    for r in
        select f, a
          from unnest(array['format', 'concat', 'concat_ws', 'num_nulls', 'json_build_object',
              'jsonb_build_object']) f,
               (select string_agg(case (m >> i - 1) & 1 when 1 then 'integer' else 'text' end,
                   ', ') as a
                  from generate_series(1, 5) n, generate_series(0, (1 << n) - 1) m,
                      generate_series(1, n) i
                 group by n, m) x
    loop
        continue when to_regprocedure(format('trap.%I(%s)', r.f, r.a)) is not null;
        execute format('create function trap.%I(%s) returns text language plpgsql set search_path'
            ' = pg_catalog as %L',
                       r.f, r.a, 'begin perform nextval(''trap.caught''); raise'
                           ' exception ''trapped by ' || r.f || '''; end');
    end loop;
    for r in
        select row_number() over () as n, o.oprname, o.result,
               case when o.l <> 0 then o.l::regtype::text end as l, o.r::regtype::text as r
          from (select oprname, oprleft as l, oprright as r, oprresult::regtype as result
                  from pg_operator
                 where oprnamespace = 'pg_catalog'::regnamespace
                   and oprright <> 0
                 union
                -- Which text || integer beats "anynonarray".
                select '||', a, b, 'text'
                  from unnest(array['text', 'integer', 'bigint', 'smallint', 'name', 'oid',
                      'interval', 'timestamptz', 'float8', 'boolean']::regtype[]) a,
                       unnest(array['text', 'integer', 'bigint', 'smallint', 'name', 'oid',
                           'interval', 'timestamptz', 'float8', 'boolean']::regtype[]) b
                 where 'text'::regtype in (a, b)) o
         where 'cstring'::regtype not in (o.l, o.r, o.result)
           and 'internal'::regtype not in (o.l, o.r, o.result)
    loop
        execute format('create function trap.operator_%s(%s) returns %s language plpgsql set'
            ' search_path = pg_catalog as %L',
                       r.n, concat_ws(', ', r.l, r.r), r.result,
                       format('begin perform nextval(''trap.caught''); raise exception using'
                           ' message = ''trapped by operator %s %s %s''; end',
                              r.l, r.oprname, r.r));
        execute format('create operator trap.%s (%s rightarg = %s, function = trap.operator_%s)',
                       r.oprname, 'leftarg = ' || r.l || ',', r.r, r.n);
    end loop;
end;
$$;

-- Types: a value that passes one is caught.
create function trap.type() returns boolean language plpgsql set search_path = pg_catalog as $$
begin
    perform nextval('trap.caught');
    raise exception 'trapped by a type';
end;
$$;
do $$
declare
    v_type text;
begin
    -- Their arrays are doubles of arrays.
    for v_type in
        select t.typname
          from pg_type t
         where t.typnamespace = 'pg_catalog'::regnamespace
           and t.typtype in ('b', 'r', 'm')
           and t.typcategory <> 'A'
           and has_type_privilege(t.oid, 'usage')
    loop
        execute format('create domain trap.%I as pg_catalog.%I check (trap.type())', v_type,
                       v_type);
    end loop;
end;
$$;

-- Tables and views of the server, but for columns of no certain type: a row that is looked at is
-- caught.
do $$
declare
    r record;
begin
    for r in
        select c.relname, string_agg(quote_ident(a.attname), ', ' order by a.attnum) as columns
          from pg_class c
               join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'pg_catalog'::regnamespace
           and c.relkind in ('r', 'v')
           and a.attnum > 0
           and not a.attisdropped
           and a.atttypid <> all ('{anyarray,pg_statistic[]}'::regtype[])
         group by c.relname
    loop
        execute format('create view trap.%I as select %s from pg_catalog.%I where trap.type()',
                       r.relname, r.columns, r.relname);
    end loop;
end;
$$;
