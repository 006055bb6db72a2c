-- Members of a cooperative group come and go.

create or replace function pgq_coop.register_subconsumer(
    i_queue_name        text,
    i_consumer_name     text,
    i_subconsumer_name  text)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop.register_subconsumer(3)
--      Add a member to a cooperative group; the group's main consumer is registered first when it
--      is missing.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     main consumer, which holds the group's position
--      i_subconsumer_name  member; its pgq consumer is called MAIN.MEMBER
-- Returns: 1 new, 0 was a member already
-- Errors:
--      22004   a name is null
--      42704   no such queue (raised by pgq.register_consumer)
--      55000   MAIN.MEMBER is registered on the queue as an ordinary consumer
-- Locks: what pgq.register_consumer locks for the main consumer; then as pgq_coop._member
-- Tables: pgq.consumer, pgq.subscription
-- ----------------------------------------------------------------------
declare
    main        pgq.subscription;
    member_name text := i_consumer_name || '.' || i_subconsumer_name;
begin
    if i_queue_name is null or member_name is null then
        raise exception 'queue, consumer and subconsumer must not be null'
            using errcode = '22004';
    end if;

    -- Also when it is registered: this keeps its subscription from going away.
    perform pgq.register_consumer(i_queue_name, i_consumer_name);
    main := pgq_coop._lock_main(i_queue_name, i_consumer_name);
    return case when (pgq_coop._member(main, member_name)).sub_id is null
                then pgq_coop._add_member(main, i_queue_name, member_name)
                else 0
           end;
end;
$$;
comment on function pgq_coop.register_subconsumer(text, text, text) is
    'add a member to a cooperative group: 1 new, 0 was one already';

create or replace function pgq_coop.unregister_subconsumer(
    i_queue_name        text,
    i_consumer_name     text,
    i_subconsumer_name  text,
    i_batch_handling    integer)
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop.unregister_subconsumer(4)
--      Take a member out of a cooperative group.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     main consumer
--      i_subconsumer_name  member
--      i_batch_handling    what to do about an open batch: 1 hands it back to the group (see
--                          pgq._drop_member: its events are delivered again), anything else is an
--                          error
-- Returns: 1 gone, 0 there was no such member
-- Errors:
--      55000   the member has an open batch and i_batch_handling is not 1
-- Locks: the main subscription, the member's consumer row, its subscription, in this order
-- Tables: pgq.subscription, pgq.consumer, pgq.retry_queue
-- ----------------------------------------------------------------------
declare
    main    pgq.subscription;
    member  pgq.subscription;
begin
    main := pgq_coop._lock_main(i_queue_name, i_consumer_name);
    if main.sub_id is null then
        return 0;
    end if;

    -- Not locked yet: _drop_member has an order to keep. The member cannot take a batch meanwhile.
    member := pgq_coop._member(main, i_consumer_name || '.' || i_subconsumer_name);
    if member.sub_id is null then
        return 0;
    end if;
    if member.sub_batch is not null and i_batch_handling is distinct from 1 then
        raise exception 'subconsumer has active batch'
            using errcode = '55000',
                  hint = 'Finish it, or pass 1 as i_batch_handling to hand it back to the group.';
    end if;

    return pgq._drop_member(member.sub_queue, member.sub_consumer);
end;
$$;
comment on function pgq_coop.unregister_subconsumer(text, text, text, integer) is
    'take a member out of a cooperative group; with i_batch_handling 1 an open batch goes back to '
    'the group';

create or replace function pgq_coop._lock_main(i_queue_name text, i_consumer_name text)
returns pgq.subscription
language sql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop._lock_main(2)
--      Lock and return the main subscription of a group.
-- Parameters:
--      i_queue_name        queue
--      i_consumer_name     main consumer
-- Returns: the subscription; all null when there is none
-- Locks: the row, for update, until the end of the transaction
-- Tables: pgq.queue, pgq.consumer, pgq.subscription
-- ----------------------------------------------------------------------
    select s.*
      from pgq.subscription s
      join pgq.queue q on q.queue_id = s.sub_queue
      join pgq.consumer c on c.co_id = s.sub_consumer
     where q.queue_name = i_queue_name
       and c.co_name = i_consumer_name
       for update of s
$$;
comment on function pgq_coop._lock_main(text, text) is
    'internal: lock the main subscription of a cooperative group';

create or replace function pgq_coop._member(main pgq.subscription, i_member_name text)
returns pgq.subscription
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop._member(2)
--      The subscription of a group's member.
-- Parameters:
--      main            main subscription
--      i_member_name   MAIN.MEMBER
-- Returns: the subscription; all null when there is none
-- Errors: 55000 when the name is registered on the queue as an ordinary consumer
-- Locks: none
-- Tables: pgq.subscription, pgq.consumer (read)
-- ----------------------------------------------------------------------
declare
    member pgq.subscription;
begin
    select s.*
      into member
      from pgq.subscription s
      join pgq.consumer c on c.co_id = s.sub_consumer
     where s.sub_queue = main.sub_queue
       and c.co_name = i_member_name;
    if member.sub_id <> main.sub_id then
        raise exception 'consumer "%" is registered on the queue as an ordinary consumer',
                        i_member_name
            using errcode = '55000',
                  hint = 'Unregister it with pgq.unregister_consumer() first, or choose another '
                         'name for the subconsumer.';
    end if;
    return member;
end;
$$;
comment on function pgq_coop._member(pgq.subscription, text) is
    'internal: the subscription of a group''s member';

create or replace function pgq_coop._add_member(
    main            pgq.subscription,
    i_queue_name    text,
    i_member_name   text)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq_coop._add_member(3)
--      Register a consumer as a member of a group.
-- Parameters:
--      main            main subscription; the caller holds its lock
--      i_queue_name    queue
--      i_member_name   MAIN.MEMBER, which is not subscribed
-- Returns: 1
-- Locks: what pgq.register_consumer locks
-- Tables: pgq.subscription, pgq.consumer
-- ----------------------------------------------------------------------
begin
    perform pgq.register_consumer(i_queue_name, i_member_name);
    update pgq.subscription s
       set sub_id = main.sub_id,
           sub_last_tick = null,
           sub_next_tick = null
      from pgq.consumer c
     where c.co_name = i_member_name
       and s.sub_queue = main.sub_queue
       and s.sub_consumer = c.co_id;
    return 1;
end;
$$;
comment on function pgq_coop._add_member(pgq.subscription, text, text) is
    'internal: register a consumer as a member of a group';
