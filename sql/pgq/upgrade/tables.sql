-- From PgQ 3.x: what tables lack. Every step may find its work done, since 3.x databases differ in
-- age.

do $$
begin
    perform 1
       from pg_catalog.pg_attribute a
      where a.attrelid = 'pgq.subscription'::regclass
        and a.attname = 'sub_last_tick'
        and a.attnotnull;
    if found then
        alter table pgq.subscription alter column sub_last_tick drop not null;
    end if;

    if to_regclass('pgq.rq_queue_idx') is null then
        create index rq_queue_idx on pgq.retry_queue (ev_queue, ev_retry_after);
    end if;

    -- Databases that began as PgQ 2 may have ticks without a sequence value.
    perform 1
       from pg_catalog.pg_attribute a
      where a.attrelid = 'pgq.tick'::regclass
        and a.attname = 'tick_event_seq'
        and not a.attnotnull
        and not exists (select 1 from pgq.tick t where t.tick_event_seq is null);
    if found then
        alter table pgq.tick alter column tick_event_seq set not null;
    end if;
end;
$$;
alter table pgq.queue add column if not exists queue_extra_maint text[];
alter table pgq.queue add column if not exists queue_batch_max_count integer not null default 10000;

-- Result columns of these differ between 3.x releases, and "create or replace" cannot change them.
-- Views that use them stay alive where nothing has changed.
do $$
declare
    old_function regprocedure;
begin
    for old_function in
        select p.oid
          from pg_catalog.pg_proc p
         where p.pronamespace = 'pgq'::regnamespace
           and p.proname = 'get_queue_info'
           and not p.proargnames @> array['queue_switch_time', 'ticker_lag', 'ev_per_sec', 'ev_new',
                                          'last_tick_id']
    loop
        execute format('drop function %s', old_function);
    end loop;
end;
$$;
