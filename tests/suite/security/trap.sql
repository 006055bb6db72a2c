-- Schema "trap" has a double of whatever a query can name without its schema: functions, operators, types. Whoever takes one of
-- them moves the sequence trap.caught, which no rollback undoes, and gets an error.
create schema trap;
create sequence trap.caught;
grant usage on schema trap to public;
grant usage on sequence trap.caught to public;

do $$
declare
    r record;
begin
    -- Exact doubles of the built-in functions, but for what plpgsql cannot declare.
    for r in
        select p.oid, p.proname, p.proretset, pg_catalog.format_type(p.prorettype, null) as result,
               (select string_agg(pg_catalog.format_type(a, null), ', ' order by n)
                  from unnest(p.proargtypes) with ordinality t (a, n)) as arguments
          from pg_proc p
         where p.pronamespace = 'pg_catalog'::regnamespace
           and p.prokind = 'f'
           and p.prorettype <> all (array['internal', 'cstring', 'trigger', 'event_trigger', 'language_handler',
                                          'index_am_handler', 'table_am_handler', 'fdw_handler', 'tsm_handler']::regtype[])
           and not exists (
                   select 1
                     from unnest(p.proargtypes) a
                    where a in ('internal'::regtype, 'cstring'::regtype, '"any"'::regtype, 'pg_ddl_command'::regtype))
    loop
        begin
            execute format('create function trap.%I(%s) returns %s %s language plpgsql set search_path = pg_catalog as'
                           ' %L', r.proname, r.arguments, case when r.proretset then 'setof' end, r.result,
                           format('begin perform nextval(''trap.caught''); raise exception ''trapped by function %s''; end',
                                  r.proname));
        exception
            when others then null; -- polymorphic results without an argument that says what they are
        end;
    end loop;

    -- Functions of any number of arguments of any type lose against an exact match in every schema.
    for r in
        select f, a
          from unnest(array['format', 'concat', 'concat_ws', 'num_nulls', 'json_build_object', 'jsonb_build_object']) f,
               (select string_agg(case (m >> i - 1) & 1 when 1 then 'integer' else 'text' end, ', ') as a
                  from generate_series(1, 5) n, generate_series(0, (1 << n) - 1) m, generate_series(1, n) i
                 group by n, m) x
    loop
        continue when to_regprocedure(format('trap.%I(%s)', r.f, r.a)) is not null;
        execute format('create function trap.%I(%s) returns text language plpgsql set search_path = pg_catalog as %L',
                       r.f, r.a, 'begin perform nextval(''trap.caught''); raise exception ''trapped by ' || r.f || '''; end');
    end loop;
    for r in
        select row_number() over () as n, o.*
          from (select oprname, oprleft::regtype as l, oprright::regtype as r, oprresult::regtype as result
                  from pg_operator
                 where oprnamespace = 'pg_catalog'::regnamespace
                   and oprleft <> 0
                   and oprright <> 0
                 union
                -- Which text || integer beats "anynonarray".
                select '||', a, b, 'text'
                  from unnest(array['text', 'integer', 'bigint', 'smallint', 'name', 'oid', 'interval', 'timestamptz', 'float8', 'boolean']::regtype[]) a,
                       unnest(array['text', 'integer', 'bigint', 'smallint', 'name', 'oid', 'interval', 'timestamptz', 'float8', 'boolean']::regtype[]) b
                 where 'text'::regtype in (a, b)) o
         where not exists (select 1 from pg_type t where t.oid in (o.l, o.r, o.result) and t.typtype = 'p')
    loop
        execute format('create function trap.operator_%s(%s, %s) returns %s language plpgsql set search_path = pg_catalog as %L',
                       r.n, r.l, r.r, r.result,
                       format('begin perform nextval(''trap.caught''); raise exception using message = ''trapped by operator %s %s %s''; end',
                              r.l, r.oprname, r.r));
        execute format('create operator trap.%s (leftarg = %s, rightarg = %s, function = trap.operator_%s)',
                       r.oprname, r.l, r.r, r.n);
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
    foreach v_type in array array['text', 'regclass', 'txid_snapshot', 'timestamptz', 'xid', 'oid', 'int8', 'int4', 'bool', 'json', 'jsonb'] loop
        execute format('create domain trap.%I as pg_catalog.%I check (trap.type())', v_type, v_type);
    end loop;
end;
$$;
