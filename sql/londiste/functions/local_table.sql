-- A table joins the node.

create or replace function londiste._add_table(
    in i_queue_name     text,
    in i_table_name     text,
    in i_trg_args       text[],
    in i_table_attrs    text,
    in i_dest_table     text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._add_table(5)
--      The work of local_add_table(5), which says what it does. What it has done must be undone
--      when the code is 400 or above.
-- ----------------------------------------------------------------------
declare
    full_name   text := londiste.make_fqname(i_table_name);
    dest        text := londiste.make_fqname(coalesce(i_dest_table, i_table_name));
    shown       text;
    relation    oid;
    options     record;
    node        record;
    info        londiste.table_info;
    state       text;
    other       record;
    made        record;
    earlier     text;
begin
    shown := case when dest = full_name then full_name else format('%s(%s)', full_name, dest) end;
    options := londiste._table_options(i_trg_args, i_table_attrs);
    ret_code := 405;
    if options.merge_all and options.no_merge then
        ret_note := 'Cannot use merge-all and no-merge together';
        return;
    end if;

    if not options.is_virtual then
        relation := londiste.find_table_oid(dest);
        if relation is null then
            ret_code := 404;
            ret_note := format('Table does not exist: %s', shown);
            return;
        end if;
        -- A copy of another part of a merged table may have dropped the key.
        if not exists (select 1 from pg_index x where x.indrelid = relation and x.indisprimary)
           and not exists (
                   select 1
                     from pgq_node.node_info me,
                          londiste._parts(dest, me.combined_queue) i
                    where me.queue_name = i_queue_name
                      and i.queue_name <> i_queue_name
                      and i.dropped_ddl is not null)
        then
            ret_code := 400;
            ret_note := format('Primary key missing on table: %s', shown);
            return;
        end if;
    end if;

    perform 1 from pgq_node.node_info n where n.queue_name = i_queue_name for update;
    node := pgq_node.get_node_info(i_queue_name);
    if node.ret_code >= 400 then
        ret_code := 400;
        ret_note := format('No such set: %s', i_queue_name);
        return;
    end if;

    -- Rows of other sources change with it: whoever adds or removes the table by another of its
    -- queues locks them in the same order.
    perform 1
       from londiste.table_info i
      where (i.queue_name = i_queue_name and i.table_name = full_name)
         or (node.node_type = 'leaf'
             and (i.queue_name, i.table_name) in (
                     select p.queue_name, p.table_name
                       from londiste._parts(dest, node.combined_queue) p))
      order by i.queue_name, i.table_name
        for update;
    select i.*
      into info
      from londiste.table_info i
     where i.queue_name = i_queue_name
       and i.table_name = full_name;
    if not found then
        if node.node_type <> 'root' then
            ret_code := 404;
            ret_note := format('Table not available on queue: %s', shown);
            return;
        end if;
        perform londiste.global_add_table(i_queue_name, full_name);
    elsif info.local then
        if coalesce(info.table_attrs, '') = coalesce(options.table_attrs, '') then
            ret_code := 200;
            ret_note := format('Table already added: %s', shown);
        else
            ret_code := 410;
            ret_note := format('Table %s already added, but with different args: %s', shown,
                               info.table_attrs);
        end if;
        return;
    end if;

    if node.node_type = 'root' or node.combined_type = 'branch' or options.is_synced then
        state := 'ok';
    end if;

    -- The same table from other sources.
    if node.node_type = 'leaf' and not options.no_merge then
        for other in
            select i.queue_name, i.table_name, i.local
              from londiste._parts(dest, node.combined_queue) i
             where i.queue_name <> i_queue_name
             order by i.queue_name, i.table_name
        loop
            if state is distinct from 'ok' then
                if other.local then
                    ret_note := format('Found local table %s in queue %s, use remove-table first '
                                       'to remove all previous table subscriptions',
                                       shown, other.queue_name);
                    return;
                elsif not options.merge_all then
                    ret_note := format('Found multiple sources for table %s, use merge-all or '
                                       'no-merge to continue', shown);
                    return;
                end if;
            end if;
            update londiste.table_info i
               set local = true,
                   merge_state = state,
                   table_attrs = options.table_attrs,
                   dest_table = nullif(dest, i.table_name)
             where i.queue_name = other.queue_name
               and i.table_name = other.table_name
               and not i.local;
        end loop;
    end if;

    update londiste.table_info i
       set local = true,
           merge_state = state,
           table_attrs = options.table_attrs,
           dest_table = nullif(dest, full_name)
     where i.queue_name = i_queue_name
       and i.table_name = full_name;
    if node.node_type = 'root' then
        perform londiste.root_notify_change(i_queue_name, 'londiste.add-table', full_name);
    end if;

    if node.node_type = 'leaf'
       and not options.no_merge
       and node.combined_type in ('root', 'branch')
       and exists (
               select 1
                 from londiste.table_info i
                where i.queue_name = node.combined_queue
                  and i.table_name = full_name
                  and not i.local)
    then
        made := londiste._add_table(node.combined_queue, full_name, i_trg_args, i_table_attrs,
                                    i_dest_table);
        if made.ret_code >= 400 then
            ret_code := made.ret_code;
            ret_note := made.ret_note;
            return;
        end if;
    end if;

    made := londiste.create_trigger(i_queue_name, full_name, i_trg_args, dest, node.node_type);
    if made.ret_code >= 300 then
        ret_code := made.ret_code;
        ret_note := format('Trigger creation failed for table %s: %s', shown, made.ret_note);
        return;
    end if;
    ret_code := 200;
    if made.ret_code = 201 then
        ret_note := format('Table added with no triggers: %s', shown);
        return;
    end if;
    ret_note := format('Table added: %s', shown);
    earlier := londiste._earlier_triggers(relation, made.trigger_name);
    if earlier is not null then
        ret_code := 301;
        ret_note := ret_note || ', but londiste trigger is not first: ' || earlier;
    end if;
end;
$$;
comment on function londiste._add_table(text, text, text[], text, text) is
    'the work of local_add_table, to be undone from code 400';

create or replace function londiste.local_add_table(
    in i_queue_name     text,
    in i_table_name     text,
    in i_trg_args       text[],
    in i_table_attrs    text,
    in i_dest_table     text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.local_add_table(5)
--      Attach a table to the node, with triggers. On the root it becomes known on the queue. On a
--      leaf with a combined queue it joins that as well. From code 400 on nothing has changed.
-- Parameters:
--      i_queue_name    queue
--      i_table_name    name of the table on the queue
--      i_trg_args      options; null is none. Some are for the triggers, see create_trigger:
--      expect_sync     the rows are there already: no initial copy
--      skip_truncate   the copy leaves in the table what is there
--      merge_all       other sources of the table join
--      no_merge        this source alone, and not into the combined queue
--      virtual_table   there is no table here, events only pass
--      no_triggers     none are made
--      i_table_attrs   urlencoded: handler, copy_node, skip_truncate, max_parallel_copy
--      i_dest_table    the table here; null if it is called as on the queue
-- Returns:
--      200     Table added: TABLE
--      200     Table added with no triggers: TABLE
--      200     Table already added: TABLE
--      301     Table added: TABLE, but londiste trigger is not first: TRIGGERS
--      400     No such set: QUEUE
--      400     Primary key missing on table: TABLE
--      404     Table does not exist: TABLE
--      404     Table not available on queue: TABLE
--      405     Cannot use merge-all and no-merge together
--      405     Found local table TABLE in queue QUEUE, use remove-table first to remove all
--              previous table subscriptions
--      405     Found multiple sources for table TABLE, use merge-all or no-merge to continue
--      410     Table TABLE already added, but with different args: ATTRIBUTES
--      403, 405
--              Trigger creation failed for table TABLE: what create_trigger says
-- Errors:
--      22004   queue or table is null
--      42501   no right to make triggers on the table
--      55000   the queue takes no events (root that is being demoted)
-- Locks: this node's row in node_info, the table's in table_info, on a leaf those of all queues
--      that bring the table; share row exclusive on the table
-- Tables: londiste.table_info; the queue's event table
-- ----------------------------------------------------------------------
begin
    if i_queue_name is null or i_table_name is null then
        raise exception 'queue and table must not be null' using errcode = '22004';
    end if;
    -- A block of its own, for what has to be undone. Its variables stay as they are.
    begin
        select a.ret_code, a.ret_note
          into ret_code, ret_note
          from londiste._add_table(i_queue_name, i_table_name, i_trg_args, i_table_attrs,
                                   i_dest_table) a;
        if ret_code >= 400 then
            raise exception using errcode = 'LD400';
        end if;
    exception
        when sqlstate 'LD400' then null;
    end;
end;
$$;
comment on function londiste.local_add_table(text, text, text[], text, text) is
    'attach a table to the node, with triggers';

create or replace function londiste.local_add_table(
    in i_queue_name     text,
    in i_table_name     text,
    in i_trg_args       text[],
    in i_table_attrs    text,
    out ret_code        int4,
    out ret_note        text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.local_add_table(4)
--      As local_add_table(5), for a table that is called as on the queue.
-- ----------------------------------------------------------------------
begin
    select a.ret_code, a.ret_note
      into ret_code, ret_note
      from londiste.local_add_table(i_queue_name, i_table_name, i_trg_args, i_table_attrs, null) a;
end;
$$;
comment on function londiste.local_add_table(text, text, text[], text) is
    'attach a table that is called as on the queue';

create or replace function londiste.local_add_table(
    in i_queue_name text,
    in i_table_name text,
    in i_trg_args   text[],
    out ret_code    int4,
    out ret_note    text)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.local_add_table(3)
--      As local_add_table(5), without attributes.
-- ----------------------------------------------------------------------
begin
    select a.ret_code, a.ret_note
      into ret_code, ret_note
      from londiste.local_add_table(i_queue_name, i_table_name, i_trg_args, null, null) a;
end;
$$;
comment on function londiste.local_add_table(text, text, text[]) is
    'attach a table without attributes';

create or replace function londiste.local_add_table(
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
-- Function: londiste.local_add_table(2)
--      As local_add_table(5), without options and attributes.
-- ----------------------------------------------------------------------
begin
    select a.ret_code, a.ret_note
      into ret_code, ret_note
      from londiste.local_add_table(i_queue_name, i_table_name, null, null, null) a;
end;
$$;
comment on function londiste.local_add_table(text, text) is
    'attach a table without options and attributes';
