create or replace function pgq_ext.upgrade_schema()
returns int4
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.upgrade_schema(0)
--      Bring tables of older versions to the present form: subconsumer_id in each table and its primary key, with '' as its
--      default. Rows stay; what they say is about the consumer without subconsumer.
-- Returns: number of changes; 8 from the single-key tables of 2.x, 4 from tables without the default, 0 when nothing is to do
-- Errors: 42501 when the caller does not own the tables
-- Locks: access exclusive on a table that changes
-- Tables: the four tables of pgq_ext
-- ----------------------------------------------------------------------
declare
    changes int4 := 0;
    tab     record;
    col     record;
begin
    for tab in
        select *
          from (values ('completed_tick', 'consumer_id, subconsumer_id'),
                       ('completed_batch', 'consumer_id, subconsumer_id'),
                       ('completed_event', 'consumer_id, subconsumer_id, batch_id, event_id'),
                       ('partial_batch', 'consumer_id, subconsumer_id')) as t (name, key)
    loop
        select a.attname, a.atthasdef
          into col
          from pg_attribute a
         where a.attrelid = format('pgq_ext.%I', tab.name)::regclass
           and a.attname = 'subconsumer_id'
           and not a.attisdropped;
        if not found then
            execute format('alter table pgq_ext.%I add column subconsumer_id text not null default %L', tab.name, '');
            execute format('alter table pgq_ext.%I drop constraint %I', tab.name, tab.name || '_pkey');
            execute format('alter table pgq_ext.%I add constraint %I primary key (%s)',
                           tab.name, tab.name || '_pkey', tab.key);
            changes := changes + 2;
        elsif not col.atthasdef then
            execute format('alter table pgq_ext.%I alter column subconsumer_id set default %L', tab.name, '');
            changes := changes + 1;
        end if;
    end loop;
    return changes;
end;
$$;
comment on function pgq_ext.upgrade_schema() is 'bring tables of older versions to the present form; number of changes';
