create or replace function pgq_ext.upgrade_schema()
returns int4
language plpgsql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_ext.upgrade_schema(0)
--      Bring tables of older versions to the present form: subconsumer_id in each table and its
--      primary key, with '' as its default. Rows stay; what they say is about the consumer without
--      subconsumer.
-- Returns: number of changes; 8 from the single-key tables of 2.x, 4 from tables without the
--      default, 0 when nothing is to do
-- Errors: 42501 when the caller does not own the tables
-- Locks: access exclusive on the tables, if one changes: on all or on none, so that this is part of
--      no deadlock. Keeps lock_timeout.
-- Tables: the four tables of pgq_ext
-- ----------------------------------------------------------------------
declare
    changes int4 := 0;
    tab     record;
    col     record;
    begun   timestamptz := clock_timestamp();
    timeout interval := current_setting('lock_timeout')::interval;
    waiting boolean;
begin
    if (select count(*)
          from pg_attribute a
         where a.attrelid in ('pgq_ext.completed_tick'::regclass,
                              'pgq_ext.completed_batch'::regclass,
                              'pgq_ext.completed_event'::regclass,
                              'pgq_ext.partial_batch'::regclass)
           and a.attname = 'subconsumer_id'
           and a.atthasdef
           and not a.attisdropped) = 4
    then
        return 0;
    end if;

    -- Consumers use the tables in any order. The first is waited for; while it is held, the others
    -- are not.
    loop
        begin
            waiting := true;
            lock table pgq_ext.completed_batch in access exclusive mode;
            waiting := false;
            lock table pgq_ext.completed_tick, pgq_ext.completed_event, pgq_ext.partial_batch
                in access exclusive mode nowait;
            exit;
        exception
            when lock_not_available then
                if waiting or (timeout > '0' and clock_timestamp() > begun + timeout) then
                    raise;
                end if;
        end;
        perform pg_sleep(0.02);
    end loop;

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
            execute format('alter table pgq_ext.%I add column subconsumer_id text not null '
                           'default %L', tab.name, '');
            execute format('alter table pgq_ext.%I drop constraint %I', tab.name,
                           tab.name || '_pkey');
            execute format('alter table pgq_ext.%I add constraint %I primary key (%s)',
                           tab.name, tab.name || '_pkey', tab.key);
            changes := changes + 2;
        elsif not col.atthasdef then
            execute format('alter table pgq_ext.%I alter column subconsumer_id set default %L',
                           tab.name, '');
            changes := changes + 1;
        end if;
    end loop;
    return changes;
end;
$$;
comment on function pgq_ext.upgrade_schema() is
    'bring tables of older versions to the present form; number of changes';
