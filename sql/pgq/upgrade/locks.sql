-- All locks first, and none of them waited for while others are held: sessions use these tables in
-- any order, and none must end as the victim of a deadlock with an update, nor the update.
-- pgq.queue is waited for; if somebody then holds one of the rest, pgq.queue is given back, and it
-- begins again. lock_timeout is kept.
--
-- pgq.queue gets a column and triggers. Of the others only a very old release lacks something.
-- Comments take the weak lock.

do $$
declare
    v_begin   timestamptz := clock_timestamp();
    v_timeout interval := current_setting('lock_timeout')::interval;
    v_waiting boolean;
    v_old     record;
begin
    select bool_or(a.attrelid = 'pgq.subscription'::regclass and a.attname = 'sub_last_tick' and a.attnotnull) as subscription,
           bool_or(a.attrelid = 'pgq.tick'::regclass and a.attname = 'tick_event_seq' and not a.attnotnull) as tick,
           to_regclass('pgq.rq_queue_idx') is null as retry_queue
      into v_old
      from pg_catalog.pg_attribute a
     where a.attrelid in ('pgq.subscription'::regclass, 'pgq.tick'::regclass);

    loop
        begin
            v_waiting := true;
            lock table pgq.queue in access exclusive mode;
            v_waiting := false;
            if v_old.subscription then
                lock table pgq.subscription in access exclusive mode nowait;
            end if;
            if v_old.tick then
                lock table pgq.tick in access exclusive mode nowait;
            end if;
            if v_old.retry_queue then
                lock table pgq.retry_queue in share mode nowait;
            end if;
            lock table only pgq.consumer, only pgq.tick, only pgq.subscription, only pgq.event_template, only pgq.retry_queue
                in share update exclusive mode nowait;
            exit;
        exception
            when lock_not_available then
                if v_waiting or (v_timeout > '0' and clock_timestamp() > v_begin + v_timeout) then
                    raise;
                end if;
        end;
        perform pg_sleep(0.02);
    end loop;
end;
$$;
