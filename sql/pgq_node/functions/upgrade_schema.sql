create or replace function pgq_node.upgrade_schema()
returns int4
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_node.upgrade_schema(0)
--      Bring tables of older versions to the present form.
-- Returns: number of columns and tables added
-- Errors: 42501 when the caller does not own the tables
-- Locks: access exclusive on a table that changes
-- Tables: pgq_node.node_info, pgq_node.consumer_seen
-- ----------------------------------------------------------------------
declare
    changes int4 := 0;
begin
    if not exists (
        select 1
          from pg_attribute
         where attrelid = 'pgq_node.node_info'::regclass
           and attname = 'node_attrs'
           and not attisdropped)
    then
        alter table pgq_node.node_info add column node_attrs text;
        changes := changes + 1;
    end if;

    -- Since 4.0. Written once a batch by every consumer, hence room for updates in place.
    if to_regclass('pgq_node.consumer_seen') is null then
        create table pgq_node.consumer_seen (
            queue_name      text        not null,
            consumer_name   text        not null,
            seen            timestamptz not null,
            primary key (queue_name, consumer_name)
        ) with (fillfactor = 50);
        changes := changes + 1;
    end if;
    return changes;
end;
$$;
comment on function pgq_node.upgrade_schema() is
    'bring tables of older versions to the present form; number of changes';
