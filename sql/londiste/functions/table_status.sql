-- How far the tables of a node are.

create or replace function londiste._copies_in(
    out relation    oid,
    out pid         int4,
    out rows        int8,
    out bytes       int8)
returns setof record
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste._copies_in(0)
--      What comes by COPY at the moment into tables that this node copies, whoever's session it is:
--      the server shows others' progress to members of pg_read_all_stats only, so it runs with its
--      owner's rights. Nothing before PostgreSQL 14, which has no such view.
-- Returns: a row a session: table, server process, and what has come so far
-- Locks: none
-- Tables: londiste.table_info, pg_catalog.pg_stat_progress_copy (read)
-- ----------------------------------------------------------------------
begin
    if to_regclass('pg_catalog.pg_stat_progress_copy') is null then
        return;
    end if;
    return query
    select p.relid, p.pid, p.tuples_processed, p.bytes_processed
      from pg_stat_progress_copy p
     where p.datname = current_database()
       and p.command = 'COPY FROM'
       and p.relid in (
               select londiste.find_table_oid(coalesce(t.dest_table, t.table_name))
                 from londiste.table_info t
                where t.local
                  and t.merge_state = 'in-copy');
end;
$$;
comment on function londiste._copies_in() is
    'what comes by COPY at the moment into tables that this node copies';

create or replace function londiste.table_status(
    in i_queue_name     text default null,
    out queue_name      text,
    out table_name      text,
    out dest_table      text,
    out state           text,
    out pid             int4,
    out copy_began      timestamptz,
    out rows_copied     int8,
    out bytes_copied    int8,
    out expected_rows   int8,
    out expected_bytes  int8,
    out percent         int4,
    out rows_per_second int8,
    out time_left       interval,
    out sqlstate        text,
    out error           text,
    out failing_since   timestamptz,
    out attempts        int8,
    out parked_indexes  text,
    out parked_fkeys    text[])
returns setof record
language sql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.table_status(1)
--      The tables of a queue, how far their copies are, and with what these fail.
-- Parameters:
--      i_queue_name    queue; null: all
-- Returns: a row a queue and table, in the order in which they were added
--      table_name      name on the queue
--      dest_table      the table here; null where the node has it not
--      state           ok: the worker applies its changes; ignored: the node has it not; waiting:
--                      its copy has not begun; copying: rows come; catching up: their copy gets
--                      what changed meanwhile; handing over: copy and worker agree where the latter
--                      goes on
--      pid             server process that copies it
--      copy_began      when rows began to come, the last time that they did; null before, and of a
--                      copy by a program
--      rows_copied, bytes_copied
--                      what has come so far, while rows come; bytes are those of COPY's text. Null
--                      before PostgreSQL 14, and while indexes are made after the last row
--      expected_rows, expected_bytes
--                      of the provider's table when the copy began: rows by its statistics, null
--                      where it was never analyzed; bytes on disk without indexes
--      percent, rows_per_second, time_left
--                      while rows come; the first and the last by expected_rows: an estimate, and
--                      null without one. More rows than expected are 99 percent
--      sqlstate, error, failing_since, attempts
--                      with what the copy fails; sqlstate, since when and how often are known of
--                      copies inside the server only. What stops the worker is in status()
--      parked_indexes  statements that make what was dropped for the copy
--      parked_fkeys    foreign keys of and to the table that wait for copies to end
-- Locks: none
-- Tables: londiste.table_info, table_copy, worker_error, pending_fkeys; pgq_node.node_info,
--      local_state (read)
-- ----------------------------------------------------------------------
    select t.queue_name, t.table_name,
           case when t.local then n.dest end,
           s.state,
           coalesce(c.pid, p.pid),
           b.began,
           c.rows,
           c.bytes,
           b.expected_rows,
           b.expected_bytes,
           case when x.part >= 0.99 then 99 else floor(100 * x.part) end::int4,
           (c.rows / x.seconds)::int8,
           case
               when x.part >= 1 then '0'::interval
               when x.part > 0 then date_trunc('second',
                                               make_interval(secs => x.seconds
                                                                     * (1 - x.part) / x.part))
           end,
           e.sqlstate,
           coalesce(e.message, l.cur_error),
           e.first_time,
           e.attempts,
           t.dropped_ddl,
           f.names
      from londiste.table_info t
      join pgq_node.node_info o on o.queue_name = t.queue_name
      cross join lateral londiste._state_of(t.local, t.merge_state) s(state)
      cross join lateral (
                select coalesce(t.dest_table, t.table_name) as dest,
                       format('%s.copy.%s', o.worker_name, t.table_name) as consumer) n
      left join londiste.table_copy b
        on b.queue_name = t.queue_name
       and b.table_name = t.table_name
       and s.state in ('copying', 'catching up', 'handing over')
      left join lateral (
                select i.pid, i.rows, i.bytes
                  from londiste._copies_in() i
                 where i.relation = londiste.find_table_oid(n.dest)
                   and s.state = 'copying'
                 order by i.rows desc
                 limit 1) c on true
      left join lateral (
                select i.pid
                  from londiste._processes() i
                 where i.queue_name = t.queue_name
                   and i.consumer_name = n.consumer
                 limit 1) p on true
      left join londiste.worker_error e
        on e.queue_name = t.queue_name and e.consumer_name = n.consumer
      left join pgq_node.local_state l
        on l.queue_name = t.queue_name and l.consumer_name = n.consumer
      left join lateral (
                select array_agg(i.fkey_name order by i.fkey_name) as names
                  from londiste.pending_fkeys i
                 where n.dest in (i.from_table, i.to_table)
                   and t.local) f on true
      -- What has begun this very moment has no rate yet.
      cross join lateral (
                select nullif(greatest(extract(epoch from clock_timestamp() - b.began), 0), 0)
                           ::float8 as seconds,
                       c.rows / nullif(b.expected_rows, 0)::float8 as part) x
     where coalesce(t.queue_name = i_queue_name, true)
     order by t.queue_name, t.nr, t.table_name
$$;
comment on function londiste.table_status(text) is
    'the tables of a queue, how far their copies are, and with what these fail';
