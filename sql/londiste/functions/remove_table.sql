create or replace function londiste._owned_sequences(i_table oid)
returns setof text
language sql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._owned_sequences(1)
--      The sequences of a table's serial and identity columns.
-- Parameters:
--      i_table     table; null has none
-- Returns: raw names
-- Locks: none
-- Tables: pg_catalog.pg_depend, pg_class (read)
-- ----------------------------------------------------------------------
    select n.nspname || '.' || c.relname
      from pg_depend d
      join pg_class c on c.oid = d.objid
      join pg_namespace n on n.oid = c.relnamespace
     where d.refclassid = 'pg_class'::regclass
       and d.refobjid = i_table
       and d.refobjsubid > 0
       and d.classid = 'pg_class'::regclass
       and d.deptype in ('a', 'i')
       and c.relkind = 'S'
     order by d.refobjsubid
$$;
comment on function londiste._owned_sequences(oid) is
    'the sequences of a table''s serial and identity columns';

create or replace function londiste._run_ddl(i_sql text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._run_ddl(1)
--      Run what a copy has noted of a table's indexes and constraints, with the caller's rights and
--      the search path that its session began with: the copy's had the same, and names in
--      expressions may need it.
-- Parameters:
--      i_sql   statements
-- ----------------------------------------------------------------------
begin
    perform set_config('search_path', (select s.reset_val from pg_settings s
                                        where s.name = 'search_path'), true);
    execute i_sql;
end;
$$;
comment on function londiste._run_ddl(text) is
    'run what a copy has noted of a table''s indexes and constraints';

create or replace function londiste.local_remove_table(
    in i_queue_name text,
    in i_table_name text,
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.local_remove_table(2)
--      Detach a table from the node, with the sequences that it owns. Its rows stay, unless a copy
--      was under way that had dropped indexes and constraints: then the table is emptied, and they
--      are made again. On the root the table is forgotten everywhere.
-- Parameters:
--      i_queue_name    queue
--      i_table_name    name of the table on the queue
-- Returns:
--      200     Table removed: TABLE
--      400     Table not found: TABLE
--      400     Table not registered locally: TABLE
-- Errors: 42501 when the caller does not own the table; on the root those of pgq.insert_event
-- Locks: the table's row in table_info, those of its sequences in seq_info; access exclusive on the
--      table if it has triggers of the queue
-- Tables: londiste.table_info, londiste.seq_info; the queue's event table
-- ----------------------------------------------------------------------
declare
    full_name   text := londiste.make_fqname(i_table_name);
    info        londiste.table_info;
    dest        text;
    sequence    text;
    on_root     boolean;
begin
    select i.*
      into info
      from londiste.table_info i
     where i.queue_name = i_queue_name
       and i.table_name = full_name
       for update;
    if not found then
        ret_code := 400;
        ret_note := 'Table not found: ' || full_name;
        return;
    end if;
    on_root := pgq_node.is_root_node(i_queue_name);
    if not info.local and not on_root then
        ret_code := 400;
        ret_note := 'Table not registered locally: ' || full_name;
        return;
    end if;

    if info.local then
        dest := coalesce(info.dest_table, full_name);
        perform londiste.drop_table_triggers(i_queue_name, full_name);
        if info.dropped_ddl is not null and londiste.find_table_oid(dest) is not null then
            execute 'truncate only ' || londiste.quote_fqname(dest);
            perform londiste._run_ddl(info.dropped_ddl);
        end if;
        update londiste.table_info i
           set local = false,
               merge_state = null,
               custom_snapshot = null,
               dropped_ddl = null,
               table_attrs = null,
               dest_table = null
         where i.queue_name = i_queue_name
           and i.table_name = full_name;
        for sequence in
            select s.name from londiste._owned_sequences(londiste.find_table_oid(dest)) s (name)
        loop
            perform londiste.local_remove_seq(i_queue_name, sequence);
        end loop;
    end if;

    if on_root then
        perform londiste.global_remove_table(i_queue_name, full_name);
        perform londiste.root_notify_change(i_queue_name, 'londiste.remove-table', full_name);
    end if;
    ret_code := 200;
    ret_note := 'Table removed: ' || full_name;
end;
$$;
comment on function londiste.local_remove_table(text, text) is 'detach a table from the node';
