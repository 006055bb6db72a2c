-- The triggers by which a table's changes come into a queue, or are denied.

create or replace function londiste._trigger_name(
    i_prefix        text,
    i_queue_name    text,
    i_suffix        text)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._trigger_name(3)
--      Name of a queue's trigger on a table. Where it would be too long for a name, and be cut to
--      what another queue's or the other trigger of this one is cut to, a hash stands for the
--      queue. So it does where the queue's name ends like that of a trigger of another queue.
-- Parameters:
--      i_prefix        empty, or zzz_ for one that has to be the last
--      i_queue_name    queue
--      i_suffix        empty, or _truncate
-- Returns: name of at most 63 bytes
-- ----------------------------------------------------------------------
    select i_prefix || '_londiste_'
           || case when octet_length(i_prefix || i_queue_name || i_suffix) <= 53
                        and i_queue_name !~ '_truncate$'
                   then i_queue_name else md5(i_queue_name) end
           || i_suffix
$$;
comment on function londiste._trigger_name(text, text, text) is
    'name of a queue''s trigger on a table';

create or replace function londiste._queue_triggers(i_table oid, i_queue_name text)
returns setof name
language sql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._queue_triggers(2)
--      The triggers of a table that write into a queue, whoever made them.
-- Parameters:
--      i_table         table
--      i_queue_name    queue
-- Returns: their names
-- Locks: none
-- Tables: pg_catalog.pg_trigger (read)
-- ----------------------------------------------------------------------
    select t.tgname
      from pg_trigger t
     where t.tgrelid = i_table
       and not t.tgisinternal
       and t.tgparentid = 0
       and londiste.is_replica_func(t.tgfoid)
       and substring(t.tgargs from 1 for position('\x00'::bytea in t.tgargs))
           = convert_to(i_queue_name, getdatabaseencoding()) || '\x00'::bytea
$$;
comment on function londiste._queue_triggers(oid, text) is
    'the triggers of a table that write into a queue';

create or replace function londiste._set_trigger(
    i_table     regclass,
    i_name      text,
    i_timing    text,
    i_events    text[],
    i_function  text,
    i_args      text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._set_trigger(6)
--      Make a trigger, unless the table has it just like that. One that is replaced stays enabled
--      as it was.
-- Parameters:
--      i_table     table
--      i_name      name of the trigger
--      i_timing    before or after
--      i_events    insert, update, delete for a trigger on rows; truncate for one on statements
--      i_function  function in schema pgq
--      i_args      its arguments
-- Errors: 42501 no right to make triggers on the table; 42710 it has one of that name that writes
--      into another queue
-- Locks: nothing if the trigger is there; else share row exclusive on the table, and to replace one
--      access exclusive
-- ----------------------------------------------------------------------
declare
    present     pg_trigger;
    level       text := case when i_events = array['truncate'] then 'statement' else 'row' end;
    kind        int2;
    args        bytea;
begin
    kind := case level when 'row' then 1 else 0 end
            | case i_timing when 'before' then 2 else 0 end
            | case when 'insert' = any (i_events) then 4 else 0 end
            | case when 'delete' = any (i_events) then 8 else 0 end
            | case when 'update' = any (i_events) then 16 else 0 end
            | case when 'truncate' = any (i_events) then 32 else 0 end;
    args := (
        select string_agg(convert_to(a.arg, getdatabaseencoding()) || '\x00'::bytea, ''::bytea
                          order by a.place)
          from unnest(i_args) with ordinality a (arg, place));

    select t.* into present from pg_trigger t where t.tgrelid = i_table and t.tgname = i_name;
    if found then
        if present.tgtype = kind
           and present.tgfoid = to_regproc('pgq.' || i_function)
           and present.tgargs = args
           and present.tgqual is null
           and present.tgattr = ''::int2vector
           and present.tgconstraint = 0
        then
            return;
        elsif londiste.is_replica_func(present.tgfoid)
              and i_name not in (select q.name from londiste._queue_triggers(i_table, i_args[1])
                                                    q (name))
        then
            raise exception 'trigger "%" of relation "%" is of another queue than "%"',
                i_name, i_table, i_args[1]
                using errcode = '42710',
                      hint = format('ALTER TRIGGER %I ON %s RENAME TO new_name', i_name, i_table);
        end if;
        execute format('drop trigger %I on %s', i_name, i_table);
    end if;

    execute format(
        'create trigger %I %s %s on %s for each %s execute function pgq.%I(%s)',
        i_name, i_timing, array_to_string(i_events, ' or '), i_table, level, i_function,
        (select string_agg(quote_literal(a.arg), ', ' order by a.place)
           from unnest(i_args) with ordinality a (arg, place)));

    perform londiste._set_enabled(i_table, 'trigger', i_name, present.tgenabled);
end;
$$;
comment on function londiste._set_trigger(regclass, text, text, text[], text, text[]) is
    'make a trigger, unless the table has it just like that';

create or replace function londiste.create_trigger(
    in i_queue_name     text,
    in i_table_name     text,
    in i_trg_args       text[],
    in i_dest_table     text,
    in i_node_type      text,
    out ret_code        int4,
    out ret_note        text,
    out trigger_name    text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.create_trigger(5)
--      Make the queue's triggers on a table: one for rows, one for TRUNCATE. What is there already,
--      and is different, is replaced. On a leaf they deny changes.
-- Parameters:
--      i_queue_name    queue
--      i_table_name    name of the table on the queue
--      i_trg_args      options, see below; others go to the trigger function. Null is none
--      i_dest_table    the table here; null if it is called as on the queue
--      i_node_type     type of the node
-- Options:
--      tgflags=LETTERS in any case: B before, A after (default); Q sqltriga, L logutriga (default),
--                      J jsontriga; I, U, D insert, update, delete (default: all); S skip
--      skip            the row is not stored, its change only goes to the queue; for one trigger a
--                      table, the last
--      no_triggers, virtual_table
--                      make none
--      expect_sync, skip_truncate, merge_all, no_merge
--                      are for local_add_table
-- Returns:
--      200     OK
--      201     Trigger not created
--      403     AFTER trigger cannot work with SKIP trigger(s)
--      405     Multiple SKIP triggers
--      trigger_name is the trigger for rows with 200, else null
-- Errors:
--      42P01   no such table
--      42501   no right to make triggers on the table
--      42710   a trigger of another queue has the name of one of these
--      22004   queue or table is null
-- Locks: share row exclusive on the table; access exclusive if a trigger is replaced
-- ----------------------------------------------------------------------
declare
    wish        text[];
    flags       text;
    dest        text := coalesce(i_dest_table, i_table_name);
    relation    regclass;
    timing      text;
    events      text[];
    func        text;
    args        text[];
    skips       boolean;
    truncating  text := londiste._trigger_name('', i_queue_name, '_truncate');
    denial      text[] := case when i_node_type = 'leaf' then array['deny'] else '{}' end;
    others      text[];
    old         record;
    was_enabled "char";
begin
    if i_queue_name is null or i_table_name is null then
        raise exception 'queue and table must not be null' using errcode = '22004';
    end if;
    wish := array(
        select a.arg from unnest(i_trg_args) with ordinality a (arg, place)
         where a.arg is not null order by a.place);
    if wish && array['no_triggers', 'virtual_table']
       or i_node_type = 'leaf'
          and (to_regproc('pgq.sqltriga') is null or to_regproc('pgq.logutriga') is null)
    then
        ret_code := 201;
        ret_note := 'Trigger not created';
        return;
    end if;
    relation := londiste.find_table_oid(dest);
    if relation is null then
        raise exception 'relation "%" does not exist', londiste.make_fqname(dest)
            using errcode = '42P01',
                  hint = 'Create the table, or detach it with londiste.local_remove_table().';
    end if;

    flags := coalesce(upper((
        select substr(a.arg, 9) from unnest(wish) with ordinality a (arg, place)
         where a.arg like 'tgflags=%' order by a.place desc limit 1)), '');
    timing := case when flags like '%B%' and flags not like '%A%' then 'before' else 'after' end;
    func := case
                when flags like '%J%' then 'jsontriga'
                when flags like '%Q%' and flags not like '%L%' then 'sqltriga'
                else 'logutriga'
            end;
    events := array(
        select e.event
          from (values ('I', 'insert'), ('U', 'update'), ('D', 'delete')) e (flag, event)
         where strpos(flags, e.flag) > 0 or flags !~ '[IUD]');
    skips := flags like '%S%' or exists (select 1 from unnest(wish) a (arg)
                                          where lower(a.arg) = 'skip');

    args := array[i_queue_name] || array(
        select a.arg from unnest(wish) with ordinality a (arg, place)
         where a.arg not like 'tgflags=%'
           and lower(a.arg) not in ('skip', 'expect_sync', 'skip_truncate', 'merge_all', 'no_merge')
         order by a.place);
    if londiste.make_fqname(dest) <> londiste.make_fqname(i_table_name)
       and not exists (select 1 from unnest(args) a (arg) where a.arg like 'ev_extra1=%')
    then
        args := args || ('ev_extra1=' || quote_literal(londiste.make_fqname(i_table_name)));
    end if;
    -- Triggers of others that skip. The queue's own are replaced.
    others := array(
        select t.tgname
          from pg_trigger t
         where t.tgrelid = relation
           and not t.tgisinternal
           and position('\x00'::bytea || convert_to('SKIP', 'SQL_ASCII') || '\x00'::bytea
                        in t.tgargs) > 0
           and t.tgname not in (select q.name from londiste._queue_triggers(relation, i_queue_name)
                                                   q (name)
                                 where q.name ~ '^(zzz_)?_londiste_')
         order by t.tgname);
    if timing = 'after' and (skips or cardinality(others) > 0) then
        ret_code := 403;
        ret_note := 'AFTER trigger cannot work with SKIP trigger(s)';
        return;
    elsif skips and cardinality(others) > 1 then
        ret_code := 405;
        ret_note := 'Multiple SKIP triggers';
        return;
    elsif skips and cardinality(others) = 1 then
        -- One that skips is enough, and it has to be the last.
        if others[1] not like 'zzz\_%' then
            execute format('alter trigger %I on %s rename to %I', others[1], relation,
                           'zzz_' || others[1]);
        end if;
        skips := false;
    end if;

    trigger_name := londiste._trigger_name(case when skips then 'zzz_' else '' end, i_queue_name,
                                           '');
    -- One that is called otherwise from here on stays enabled as it was, too.
    for old in
        select t.tgname, t.tgenabled, t.tgtype
          from londiste._queue_triggers(relation, i_queue_name) q (name)
               join pg_trigger t on t.tgrelid = relation and t.tgname = q.name
         where q.name ~ '^(zzz_)?_londiste_'
           and q.name not in (trigger_name, truncating)
         order by t.tgname
    loop
        -- It is one for rows.
        if old.tgtype & 1 = 1 then
            was_enabled := old.tgenabled;
        end if;
        execute format('drop trigger %I on %s', old.tgname, relation);
    end loop;
    if exists (
        select 1 from pg_trigger t where t.tgrelid = relation and t.tgname = trigger_name)
    then
        was_enabled := null;
    end if;
    perform londiste._set_trigger(
        relation, trigger_name, timing, events, func,
        args || case when skips then array['SKIP'] else '{}'::text[] end || denial);
    perform londiste._set_enabled(relation, 'trigger', trigger_name, was_enabled);
    perform londiste._set_trigger(
        relation, truncating, 'after', array['truncate'], 'sqltriga',
        array[i_queue_name] || denial);
    ret_code := 200;
    ret_note := 'OK';
end;
$$;
comment on function londiste.create_trigger(text, text, text[], text, text) is
    'make the triggers on a table that capture its changes, or deny them on a leaf';
