-- The tables of several queues may be merged into one.

create or replace function londiste._parts(i_dest text, i_combined_queue text)
returns setof londiste.table_info
language sql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._parts(2)
--      What the queues that are merged into one have of a table here.
-- Parameters:
--      i_dest              the table here, a full raw name
--      i_combined_queue    queue that they are merged into; null for all that are merged into none
-- Returns: a row a queue
-- Locks: none
-- Tables: londiste.table_info, pgq_node.node_info (read)
-- ----------------------------------------------------------------------
    select i.*
      from londiste.table_info i
      join pgq_node.node_info n on n.queue_name = i.queue_name
     where coalesce(i.dest_table, i.table_name) = i_dest
       and n.combined_queue is not distinct from i_combined_queue
$$;
comment on function londiste._parts(text, text) is
    'what the queues that are merged into one have of a table here';

create or replace function londiste._coordinate_copy(
    in i_queue_name text,
    in i_table_name text,
    out copy_role   text,
    out copy_pos    int4)
returns record
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._coordinate_copy(2)
--      What the copy of a table has to do, when the tables of several queues are merged into one.
--      One queue leads: it drops indexes and constraints, the others copy into the bare table, and
--      it makes them again when all are through.
-- Parameters:
--      i_queue_name    queue
--      i_table_name    name of the table on the queue
-- Returns:
--      copy_role       lead: drop what slows the copy down, then copy. wait-copy: do not begin.
--                      wait-replay: copy, but do not replay. null: alone, go on, or no such table
--      copy_pos        how many others, in the order of their queues, copy before this one,
--                      which copies
-- Locks: none
-- Tables: londiste.table_info, pgq_node.node_info (read)
-- ----------------------------------------------------------------------
declare
    me          record;
    lead_queue  text;
    lead_ddl    boolean;
    parts       int4;
    done        int4;
begin
    select i.merge_state as state, i.dropped_ddl is not null as has_ddl,
           coalesce(i.dest_table, i.table_name) as dest, n.combined_queue
      into me
      from londiste.table_info i
      join pgq_node.node_info n on n.queue_name = i.queue_name
     where i.queue_name = i_queue_name
       and i.table_name = londiste.make_fqname(i_table_name);
    if not found then
        return;
    end if;

    -- The parts of the table that are not in sync yet. The lead is the first that has dropped
    -- something, else the first.
    select count(*),
           count(*) filter (where i.merge_state <> 'in-copy'),
           count(*) filter (where i.merge_state = 'in-copy' and i.queue_name < i_queue_name
                                  and me.state = 'in-copy'),
           (array_agg(i.queue_name order by i.dropped_ddl is null, i.queue_name))[1],
           coalesce(bool_or(i.dropped_ddl is not null), false)
      into parts, done, copy_pos, lead_queue, lead_ddl
      from londiste._parts(me.dest, me.combined_queue) i
     where i.local
       and i.merge_state is distinct from 'ok';
    if parts = 1 then
        return;
    end if;

    if lead_queue = i_queue_name then
        if me.state = 'in-copy' and not me.has_ddl and done > 0 then
            copy_role := 'wait-replay';
        elsif me.state = 'in-copy' and done < parts then
            copy_role := 'lead';
            copy_pos := 0;
        elsif me.state = 'catching-up' and me.has_ddl and done < parts then
            copy_role := 'wait-replay';
        end if;
    elsif me.state = 'in-copy' then
        copy_role := case when lead_ddl or done > 0 then 'wait-replay' else 'wait-copy' end;
    elsif me.state = 'catching-up' and lead_ddl then
        copy_role := 'wait-replay';
    end if;
end;
$$;
comment on function londiste._coordinate_copy(text, text) is
    'what the copy of a table has to do when several queues are merged into it';
