-- All locks first, and none of them waited for while others are held: sessions use these tables in
-- any order, and none must end as the victim of a deadlock with an update, nor the update.
-- pgq.queue is waited for; if somebody then holds one of the rest, pgq.queue is given back, and it
-- begins again. lock_timeout is kept.
--
-- pgq.queue gets a column and triggers. Of the others only a very old release lacks something.
-- Comments take the weak lock.

do $$
declare
    begun   timestamptz := clock_timestamp();
    timeout interval := current_setting('lock_timeout')::interval;
    waiting boolean;
    missing record;
begin
    select bool_or(a.attrelid = 'pgq.subscription'::regclass and a.attname = 'sub_last_tick'
                   and a.attnotnull) as subscription,
           bool_or(a.attrelid = 'pgq.tick'::regclass and a.attname = 'tick_event_seq'
                   and not a.attnotnull) as tick,
           to_regclass('pgq.rq_queue_idx') is null as retry_queue
      into missing
      from pg_catalog.pg_attribute a
     where a.attrelid in ('pgq.subscription'::regclass, 'pgq.tick'::regclass);

    loop
        begin
            waiting := true;
            lock table pgq.queue in access exclusive mode;
            waiting := false;
            if missing.subscription then
                lock table pgq.subscription in access exclusive mode nowait;
            end if;
            if missing.tick then
                lock table pgq.tick in access exclusive mode nowait;
            end if;
            if missing.retry_queue then
                lock table pgq.retry_queue in share mode nowait;
            end if;
            lock table only pgq.consumer, only pgq.tick, only pgq.subscription,
                       only pgq.event_template, only pgq.retry_queue
                in share update exclusive mode nowait;
            exit;
        exception
            when lock_not_available then
                if waiting or (timeout > '0' and clock_timestamp() > begun + timeout) then
                    raise;
                end if;
        end;
        perform pg_sleep(0.02);
    end loop;
end;
$$;
