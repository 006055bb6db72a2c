-- A table's triggers go when it is no longer replicated.

create or replace function londiste.drop_table_triggers(i_queue_name text, i_table_name text)
returns void
language plpgsql
strict
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.drop_table_triggers(2)
--      Drop the triggers of a table that write into a queue, whoever made them.
-- Parameters:
--      i_queue_name    queue, which need not exist any more
--      i_table_name    name of the table on the queue; the table here may be called otherwise
-- Errors: 42501 when the caller does not own the table
-- Locks: access exclusive on the table if it has such triggers
-- Tables: londiste.table_info (read)
-- ----------------------------------------------------------------------
declare
    relation    regclass;
    tg          name;
begin
    relation := londiste.find_table_oid(coalesce((
        select i.dest_table
          from londiste.table_info i
         where i.queue_name = i_queue_name
           and i.table_name = londiste.make_fqname(i_table_name)), i_table_name));
    for tg in
        select q.name from londiste._queue_triggers(relation, i_queue_name) q (name)
    loop
        execute format('drop trigger %I on %s', tg, relation);
    end loop;
end;
$$;
comment on function londiste.drop_table_triggers(text, text) is
    'drop the triggers of a table that write into a queue';

create or replace function londiste.table_info_trigger()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.table_info_trigger(0)
--      When a table is forgotten, also because its node goes, its triggers go: they would fail each
--      write for lack of a queue. Before the row does, which knows what the table here is called.
--      When the node goes, a foreign key deletes the row, as the owner of table_info: who may drop
--      the node needs no right on the table.
-- ----------------------------------------------------------------------
begin
    perform londiste.drop_table_triggers(old.queue_name, old.table_name);
    return old;
end;
$$;
comment on function londiste.table_info_trigger() is
    'drop the triggers of a table that is forgotten';
