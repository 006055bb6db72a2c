-- Members take batches, one at a time each, and finish them.

create or replace function pgq_coop.next_batch(
    i_queue_name        text,
    i_consumer_name     text,
    i_subconsumer_name  text)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop.next_batch(3)
--      Next batch for a member of a group; see pgq_coop.next_batch_custom(7).
-- ----------------------------------------------------------------------
    select pgq_coop.next_batch_custom($1, $2, $3, null, null, null, null)
$$;
comment on function pgq_coop.next_batch(text, text, text) is
    'next batch for a member of a cooperative group, or null';

create or replace function pgq_coop.next_batch(
    i_queue_name        text,
    i_consumer_name     text,
    i_subconsumer_name  text,
    i_dead_interval     interval)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop.next_batch(4)
--      Next batch for a member of a group, taking over from dead members; see
--      pgq_coop.next_batch_custom(7).
-- ----------------------------------------------------------------------
    select pgq_coop.next_batch_custom($1, $2, $3, null, null, null, $4)
$$;
comment on function pgq_coop.next_batch(text, text, text, interval) is
    'next batch for a member of a cooperative group, or null; takes over the batch of a member '
    'silent for i_dead_interval';

create or replace function pgq_coop.next_batch_custom(
    i_queue_name        text,
    i_consumer_name     text,
    i_subconsumer_name  text,
    i_min_lag           interval,
    i_min_count         int4,
    i_min_interval      interval)
returns bigint
language sql
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop.next_batch_custom(6)
--      Next batch for a member of a group, merging ticks; see pgq_coop.next_batch_custom(7).
-- ----------------------------------------------------------------------
    select pgq_coop.next_batch_custom($1, $2, $3, $4, $5, $6, null)
$$;
comment on function pgq_coop.next_batch_custom(text, text, text, interval, int4, interval) is
    'next batch for a member of a cooperative group, or null; conditions as in '
    'pgq.next_batch_custom';

create or replace function pgq_coop.next_batch_custom(
    i_queue_name        text,
    i_consumer_name     text,
    i_subconsumer_name  text,
    i_min_lag           interval,
    i_min_count         int4,
    i_min_interval      interval,
    i_dead_interval     interval)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop.next_batch_custom(7)
--      Next batch for a member of a cooperative group. In this order: the batch the member has open
--      already; one that a silent member has open (i_dead_interval); the next batch of the main
--      consumer.
--
--      Taking over removes the silent member and fences it: the batch continues under a new id, so
--      that whatever the late member still does with the old id (finish, retry, read) meets "batch
--      not found". Only when the session itself took the batch for the silent member does the id
--      stay, as PgQ 3.x had it in all cases. Members without a batch are left alone however long
--      they are silent.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     main consumer; registered when missing
--      i_subconsumer_name  member; registered when missing
--      i_min_lag, i_min_count, i_min_interval  as in pgq.next_batch_custom
--      i_dead_interval     a member that has had a batch open for this long without a sign of life
--                          is dead; null: never
-- Returns: batch id, or null when there is nothing
-- Errors:
--      22004   a name is null
--      42704   no such queue
--      55000   the main consumer itself has a batch open; MAIN.MEMBER is an ordinary consumer
-- Locks: the main subscription, for update: members wait for each other until the caller's
--      transaction ends, so commit before handling the batch
-- Tables: pgq.subscription, pgq.consumer, pgq.tick (read)
-- ----------------------------------------------------------------------
declare
    main        pgq.subscription;
    member      pgq.subscription;
    dead        pgq.subscription;
    batch       record;
    member_name text := i_consumer_name || '.' || i_subconsumer_name;
begin
    loop
        if not exists (
            select 1
              from pgq.subscription s
              join pgq.queue q on q.queue_id = s.sub_queue
              join pgq.consumer c on c.co_id = s.sub_consumer
             where q.queue_name = i_queue_name
               and c.co_name = member_name)
        then
            perform pgq_coop.register_subconsumer(i_queue_name, i_consumer_name,
                                                  i_subconsumer_name);
        end if;
        main := pgq_coop._lock_main(i_queue_name, i_consumer_name);
        exit when main.sub_id is not null;
        -- The group went away in between.
        perform pgq_coop.register_subconsumer(i_queue_name, i_consumer_name, i_subconsumer_name);
    end loop;

    member := pgq_coop._member(main, member_name);
    if member.sub_id is null then
        -- Taken over or unregistered while waiting for the lock.
        perform pgq_coop._add_member(main, i_queue_name, member_name);
        member := pgq_coop._member(main, member_name);
    end if;

    if main.sub_batch is not null then
        raise exception 'main consumer has batch open?'
            using errcode = '55000',
                  hint = 'Finish it with pgq.finish_batch(); a main consumer takes no batches '
                         'while it has members.';
    end if;

    if member.sub_batch is not null then
        update pgq.subscription
           set sub_active = current_timestamp
         where sub_queue = member.sub_queue
           and sub_consumer = member.sub_consumer
           and sub_batch = member.sub_batch;
        if found then
            return member.sub_batch;
        end if;
        -- Another session of the member has finished it in this moment.
    end if;

    if i_dead_interval is not null then
        -- Skip locked: a member that is finishing its batch in this moment is not dead, and waiting
        -- for it while holding the group's lock could deadlock.
        select s.*
          into dead
          from pgq.subscription s
         where s.sub_queue = main.sub_queue
           and s.sub_id = main.sub_id
           and s.sub_consumer <> member.sub_consumer
           and s.sub_batch is not null
           and s.sub_active < current_timestamp - i_dead_interval
           and pgq._group_main(s.sub_queue, s.sub_consumer) = main.sub_consumer
         order by s.sub_last_tick
         limit 1
           for update skip locked;
        if found then
            return pgq_coop._take_over(member, dead);
        end if;
    end if;

    select b.batch_id, b.cur_tick_id, b.prev_tick_id
      into batch
      from pgq.next_batch_custom(i_queue_name, i_consumer_name, i_min_lag, i_min_count,
                                 i_min_interval) b;
    if batch.batch_id is null then
        return null;
    end if;

    update pgq.subscription
       set sub_last_tick = batch.cur_tick_id,
           sub_next_tick = null,
           sub_batch = null,
           sub_active = current_timestamp
     where sub_queue = main.sub_queue
       and sub_consumer = main.sub_consumer;
    return pgq_coop._open_batch(member, batch.batch_id, batch.prev_tick_id, batch.cur_tick_id);
end;
$$;
comment on function pgq_coop.next_batch_custom(text, text, text, interval, int4, interval,
    interval) is
    'next batch for a member of a cooperative group, or null; takes over the batch of a member '
    'silent for i_dead_interval';

create or replace function pgq_coop.finish_batch(i_batch_id bigint)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop.finish_batch(1)
--      A member has handled its batch. A batch of an ordinary consumer is finished as
--      pgq.finish_batch does it. Call it in the transaction that holds the effects of the batch and
--      commit only when it returns 1: then each event takes effect exactly once, also when another
--      member has taken the batch over.
-- Parameters:
--      i_batch_id  from pgq_coop.next_batch
-- Returns: 1; 0 with a warning when there is no such batch, for it was finished, handed back or
--      taken over
-- Locks: the member's subscription
-- Tables: pgq.subscription
-- ----------------------------------------------------------------------
begin
    update pgq.subscription
       set sub_active = current_timestamp,
           sub_last_tick = null,
           sub_next_tick = null,
           sub_batch = null
     where sub_batch = i_batch_id
       and pgq._group_main(sub_queue, sub_consumer) is not null;
    if found then
        perform pgq_coop._forget_batch(i_batch_id);
        return 1;
    end if;

    if exists (select 1 from pgq.subscription where sub_batch = i_batch_id) then
        return pgq.finish_batch(i_batch_id);
    end if;

    raise warning 'coop_finish_batch: batch % not found', i_batch_id
        using hint = 'It is finished already, or another member has taken it over.';
    return 0;
end;
$$;
comment on function pgq_coop.finish_batch(bigint) is
    'a member has handled its batch: 1, or 0 with a warning when the batch is not (or no longer) '
    'open under this id';
