create or replace function pgq.maint_tables_to_vacuum()
returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.maint_tables_to_vacuum(0)
--      Tables that change much and have to be vacuumed by maintenance where autovacuum is off.
-- Returns: names of tables, those of extensions only if they exist; none while autovacuum is on
-- ----------------------------------------------------------------------
begin
    if current_setting('autovacuum') = 'on' then
        return;
    end if;
    return query
    select w.name
      from unnest(array[
               'pgq.subscription', 'pgq.consumer', 'pgq.queue', 'pgq.tick', 'pgq.retry_queue',
               'pgq.page', 'pgq.aside', 'pgq.dead_letter', 'pgq.delayed_state', 'pgq.delayed_left',
               'pgq.schedule', 'pgq.slot', 'pgq.slot_worker',
               'pgq_ext.completed_tick', 'pgq_ext.completed_batch', 'pgq_ext.completed_event',
               'pgq_ext.partial_batch',
               'pgq_node.local_state', 'londiste.seq_info', 'txid.epoch',
               'londiste.completed']) with ordinality w (name, place)
     where pgq._table_exists(split_part(w.name, '.', 1), split_part(w.name, '.', 2))
     order by w.place;
end;
$$;
comment on function pgq.maint_tables_to_vacuum() is 'tables that maintenance has to vacuum';

create or replace function pgq.maint_operations(
    out func_name   text,
    out func_arg    text)
returns setof record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq.maint_operations(0)
--      What maintenance has to do now. Each row is a function with one argument or, if that is
--      NULL, with none; run it in a transaction of its own, and again at once if its result is not
--      0. "vacuum" is the statement.
-- Returns: rows in the order in which to run them
-- Tables: pgq.queue, pgq.delayed, pgq.unique_key, pgq.schedule; pgq_node.node_info and
--      londiste.seq_info where they exist
-- ----------------------------------------------------------------------
declare
    rotates boolean := false;
begin
    for func_name, func_arg in
        select 'pgq.maint_delayed', null where pgq._next_delayed() <= clock_timestamp()
         union all
        select 'pgq.maint_schedules', null
         where pgq._next_scheduled() <= clock_timestamp()
         union all
        select 'pgq.maint_empty_buckets', null where exists (select pgq._old_buckets())
    loop
        return next;
    end loop;
    for func_name, func_arg in
        select 'pgq.maint_rotate_tables_step1', q.queue_name
          from pgq.queue q
         where q.queue_rotation_period is not null
           and q.queue_switch_step2 is not null
           and q.queue_switch_time + pgq._rotation_period(q.queue_id, q.queue_rotation_period)
                   < current_timestamp
         order by q.queue_name
    loop
        rotates := true;
        return next;
    end loop;

    if not rotates then
        perform 1 from pgq.queue q where q.queue_switch_step2 is null;
        rotates := found;
    end if;
    if rotates then
        func_name := 'pgq.maint_rotate_tables_step2';
        func_arg := null;
        return next;
    end if;

    return query
    select m.name, q.queue_name
      from pgq.queue q, unnest(q.queue_extra_maint) with ordinality m (name, place)
     order by q.queue_name, m.place;

    return query
    select 'vacuum'::text, t from pgq.maint_tables_to_vacuum() t;

    if pgq._function_exists('pgq_node', 'maint_watermark')
       and pgq._table_exists('pgq_node', 'node_info') then
        return query execute
            'select ''pgq_node.maint_watermark''::text, n.queue_name from pgq_node.node_info n'
            ' where n.node_type = ''root''';
    end if;
    if pgq._function_exists('londiste', 'root_check_seqs')
       and pgq._table_exists('londiste', 'seq_info')
       and pgq._table_exists('pgq_node', 'node_info') then
        return query execute
            'select distinct ''londiste.root_check_seqs''::text, s.queue_name from '
            'londiste.seq_info s, pgq_node.node_info n'
            ' where s.local and s.queue_name = n.queue_name and n.node_type = ''root''';
    end if;
    if pgq._function_exists('londiste', 'periodic_maintenance') then
        func_name := 'londiste.periodic_maintenance';
        func_arg := null;
        return next;
    end if;
end;
$$;
comment on function pgq.maint_operations() is 'what maintenance has to do now, in order';

create or replace function pgq._is_part_of(
    i_class     regclass,
    i_object    oid,
    i_schema    oid,
    i_owner     oid)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._is_part_of(4)
--      True if an object may be run, or read, by maintenance because of its name. A schema called
--      londiste is anybody's to make, and maintenance runs with more rights than most. So the
--      object's owner must be the owner of schema pgq or a superuser; and the object a member of
--      the extension that is called as its schema, or, where that was installed from plain SQL, the
--      schema's owner such a one, too.
-- Parameters: catalog of the object, its oid, schema and owner
-- ----------------------------------------------------------------------
declare
    trusted oid[];
begin
    trusted := array(
        select r.oid from pg_catalog.pg_roles r where r.rolsuper
         union all
        select n.nspowner from pg_catalog.pg_namespace n where n.nspname = 'pgq');
    return i_owner = any (trusted)
       and exists (
               select 1
                 from pg_catalog.pg_namespace n
                where n.oid = i_schema
                  and (n.nspowner = any (trusted)
                       or exists (
                              select 1
                                from pg_catalog.pg_depend d
                                join pg_catalog.pg_extension e on e.oid = d.refobjid
                               where d.classid = i_class
                                 and d.objid = i_object
                                 and d.refclassid = 'pg_catalog.pg_extension'::regclass
                                 and d.deptype = 'e'
                                 and e.extname = n.nspname)));
end;
$$;
comment on function pgq._is_part_of(regclass, oid, oid, oid) is
    'true if maintenance may run or read an object because of its name';

create or replace function pgq._function_exists(i_schema text, i_name text)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._function_exists(2)
--      True if the schema has functions of that name, and each of them is one that maintenance may
--      run: see pgq._is_part_of(4).
-- ----------------------------------------------------------------------
    select coalesce(bool_and(pgq._is_part_of('pg_catalog.pg_proc'::regclass, p.oid, p.pronamespace,
                                             p.proowner)), false)
      from pg_catalog.pg_proc p
      join pg_catalog.pg_namespace n on n.oid = p.pronamespace
     where n.nspname = $1
       and p.proname = $2
$$;
comment on function pgq._function_exists(text, text) is
    'true if the schema has a function of that name that maintenance may run';

create or replace function pgq._table_exists(i_schema text, i_name text)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._table_exists(2)
--      True if the schema has an ordinary table of that name that maintenance may read: see
--      pgq._is_part_of(4).
-- ----------------------------------------------------------------------
    select coalesce(bool_and(pgq._is_part_of('pg_catalog.pg_class'::regclass, c.oid, c.relnamespace,
                                             c.relowner)), false)
      from pg_catalog.pg_class c
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1
       and c.relname = $2
       and c.relkind = 'r'
$$;
comment on function pgq._table_exists(text, text) is
    'true if the schema has a table of that name that maintenance may read';
